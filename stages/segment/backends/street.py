"""fsv2v's own small network for streets, trained on CamVid. The licence of CamVid's labels, and so of the network, allows research only."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from stages.backends import Backend
from stages.conditions.labels import LabelTable
from stages.errors import UsageError
from stages.segment.backends import LabellerOpener

WEIGHTS = "street_camvid_fsv2v.safetensors"
WORKING_WIDTH = 480
"""Images are scaled to this width, at which the network was trained."""
MAX_HEIGHT = 1920
_MULTIPLE = 16
"""The sides of the network's input are multiples of this number of pixels."""


class StreetLabels:
    """A `Labeller` with 11 labels."""

    def __init__(self, weights: Path, device: str) -> None:
        from stages.models.dense import load_dense

        self._network, info = load_dense(weights, device)
        self._device = next(self._network.parameters()).device
        self.table = LabelTable("camvid", tuple(info["names"]), tuple((red, green, blue) for red, green, blue in info["palette"]))
        self.weights: Mapping[str, str] = {}

    def __call__(self, frame: NDArray[np.uint8]) -> NDArray[np.float32]:
        import torch

        from stages.networks.common.images import image_tensor

        height, width = frame.shape[:2]
        scale = min(WORKING_WIDTH / width, MAX_HEIGHT / height)
        sides = [max(_MULTIPLE, round(side * scale / _MULTIPLE) * _MULTIPLE) for side in (width, height)]
        small = cv2.resize(frame, (sides[0], sides[1]), interpolation=cv2.INTER_AREA if width > sides[0] else cv2.INTER_LINEAR)
        image = image_tensor(np.asarray(small, np.uint8)[None]).to(self._device)
        with torch.inference_mode(), torch.autocast(self._device.type, torch.bfloat16):
            scores = self._network(image.contiguous(memory_format=torch.channels_last))
        return np.asarray(scores[0].float().softmax(0).cpu().numpy())


def _open(device: str) -> LabellerOpener:
    from weights import registry

    def labeller(model: str | None) -> StreetLabels:
        if model is not None:
            raise UsageError("The backend street has only one model", code="model-not-wanted")
        return StreetLabels(registry.path(WEIGHTS), device)

    return labeller


BACKEND = Backend(
    name="street",
    produces="11 labels of streets (CamVid's), research only",
    open=_open,
    weights=(WEIGHTS,),
)
