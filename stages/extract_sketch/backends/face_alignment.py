"""The package face-alignment (2D-FAN with the S3FD detector): slow, but it finds small and turned faces.

The user downloads its two weight files: no full hash of them is published, only its start in their names, and their licence is not stated.
They are searched in FSV2V_WEIGHTS_MIRROR, in the cache of fsv2v and in that of torch.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stages.backends import Backend, Package
from stages.errors import MissingRequirement
from stages.extract_sketch.faces import Detector, Face, box_of_points

if TYPE_CHECKING:
    from torch import nn

NETWORK = "2DFAN4-11f355bf06.pth.tar"
FACE_DETECTOR = "s3fd-619a316812.pth"
ADDRESS = "https://www.adrianbulat.com/downloads/python-fan"


class FaceAlignmentFaces:
    """frame -> its faces. `predict(frame)` gives points [68, 2], scores [68] and boxes [>=4] of all faces, or None where none is."""

    def __init__(self, predict: Any) -> None:
        self._predict = predict

    def __call__(self, frame: NDArray[np.uint8]) -> list[Face]:
        points, scores, boxes = self._predict(frame)
        return [_face(*one) for one in zip(points, scores, boxes, strict=True)] if boxes is not None else []


def _face(points: NDArray[np.float32], scores: NDArray[np.float32], box: NDArray[np.float32]) -> Face:
    """One face with its points in iBUG order; scores of the heat maps, cut to [0, 1], are the confidences."""
    confidence = np.clip(np.reshape(scores, (68, 1)), 0.01, 1.0)
    together = np.concatenate([np.asarray(points)[:, :2], confidence], axis=1).astype(np.float32)
    return Face(box_of_points(together), together)


def missing_weights() -> str:
    """Empty when both files are here, else which is not and the command that puts it there."""
    from weights import registry

    for name in (FACE_DETECTOR, NETWORK):
        if _find(name) is None:
            return f"the weights {name} are not here: curl -L --create-dirs -o {registry.cache_folder() / name} {ADDRESS}/{name}"
    return ""


def _find(name: str) -> Path | None:
    from weights import registry

    mirror, torch_cache = os.environ.get("FSV2V_WEIGHTS_MIRROR", ""), os.environ.get("TORCH_HOME", "~/.cache/torch")
    folders = [Path(mirror)] if mirror and "://" not in mirror else []
    folders += [registry.cache_folder(), Path(os.path.expanduser(torch_cache)) / "hub" / "checkpoints"]
    return next((folder / name for folder in folders if (folder / name).is_file()), None)


def _checked(name: str) -> Path:
    """The file, whose sha256 begins as its name says. Raises MissingRequirement."""
    path = _find(name)
    if path is None:
        raise MissingRequirement(f"The landmark backend face-alignment cannot run: {missing_weights()}")
    prefix = name.split("-")[1].split(".")[0]
    if not hashlib.sha256(path.read_bytes()).hexdigest().startswith(prefix):
        raise MissingRequirement(f"{path} is damaged: its sha256 does not begin with {prefix}", hint="Delete it and fetch it again")
    return path


def _open(device: str) -> Detector:
    import face_alignment
    import torch
    from face_alignment.models import FAN

    from stages.compute.devices import choose_device

    class LocalFaceAlignment(face_alignment.FaceAlignment):  # type: ignore[misc, unused-ignore]
        """Takes its network from our file; the original would download it."""

        def _load_native(self, network_name: str, network_size: int, device: str, dtype: torch.dtype) -> nn.Module:
            network: nn.Module = FAN(network_size)
            network.load_state_dict(torch.load(_checked(NETWORK), map_location=device, weights_only=True))
            return network.to(device, dtype=dtype).eval()

    chosen = str(choose_device(device))
    model = LocalFaceAlignment(
        face_alignment.LandmarksType.TWO_D,
        device=chosen,
        face_detector="sfd",
        face_detector_kwargs={"path_to_detector": str(_checked(FACE_DETECTOR))},
        compile=False,
    )
    return FaceAlignmentFaces(lambda frame: model.get_landmarks_from_image(frame, return_bboxes=True, return_landmark_score=True))


BACKEND = Backend(
    name="face-alignment",
    produces="68 points, also of small and turned faces; slow without a GPU",
    open=_open,
    packages=(Package("face_alignment", "face-alignment"), Package("torch", "torch")),
    also_missing=missing_weights,
)
