"""Streets: our own small network, trained on CamVid (research only); 11 labels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from stages.backends import Backend, Package

WEIGHTS = "street_camvid_fsv2v.safetensors"
WORKING_WIDTH = 480
"""Pictures are labelled at this width: what the network was trained on."""
_MULTIPLE = 16


class StreetLabels:
    """frame, uint8 RGB [H, W, 3] -> label ids, uint8 [H, W]."""

    def __init__(self, weights: Path, device: str, smoothing: float = 0) -> None:
        from stages.dense import load_dense

        self._network, self.info = load_dense(weights, device)
        self._device = next(self._network.parameters()).device

    def __call__(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        scores = self.scores(frame)
        height, width = frame.shape[:2]
        enlarged = F.interpolate(scores[None], size=(height, width), mode="bilinear", align_corners=False)
        return np.asarray(enlarged[0].argmax(0).to(torch.uint8).cpu().numpy())

    def scores(self, frame: NDArray[np.uint8]) -> torch.Tensor:
        """Logits [L, h, w] at half of the working size."""
        from stages.dense import picture_tensor

        height, width = frame.shape[:2]
        sides = [max(_MULTIPLE, round(side * WORKING_WIDTH / width / _MULTIPLE) * _MULTIPLE) for side in (width, height)]
        small = cv2.resize(frame, (sides[0], sides[1]), interpolation=cv2.INTER_AREA if width > sides[0] else cv2.INTER_LINEAR)
        with torch.inference_mode(), torch.autocast(self._device.type, torch.bfloat16):
            return self._network(picture_tensor(np.asarray(small, np.uint8)[None]).to(self._device, memory_format=torch.channels_last))[0].float()
