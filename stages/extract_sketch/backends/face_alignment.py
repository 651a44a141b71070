"""The package face-alignment (2D-FAN with the S3FD detector). It is slow, but finds small faces and faces in profile.

The user has to download its two weight files, because their licence is not stated and only the first digits of their sha256 are published,
in their names. They are searched for in FSV2V_WEIGHTS_MIRROR, in the cache of fsv2v and in that of torch.
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
    """frame -> its faces. predict: frame -> lists of points [68, 2], scores [68] and boxes [>=4] of all faces; boxes are None without a
    face."""

    def __init__(self, predict: Any) -> None:
        self._predict = predict

    def __call__(self, frame: NDArray[np.uint8]) -> list[Face]:
        points, scores, boxes = self._predict(frame)
        return [_face(*values) for values in zip(points, scores, boxes, strict=True)] if boxes is not None else []


def _face(points: NDArray[np.float32], scores: NDArray[np.float32], box: NDArray[np.float32]) -> Face:
    """A face with its points in iBUG order. The confidences are the scores of the heat maps, limited to [0.01, 1]."""
    confidence = np.clip(np.reshape(scores, (68, 1)), 0.01, 1.0)
    with_confidence = np.concatenate([np.asarray(points)[:, :2], confidence], axis=1).astype(np.float32)
    return Face(box_of_points(with_confidence), with_confidence)


def missing_weights() -> str:
    """A sentence about a weight file that is missing, with the command that downloads it; "" if both files exist."""
    from weights import registry

    for name in (FACE_DETECTOR, NETWORK):
        if _find(name) is None:
            return f"the weights {name} are not on this machine: curl -L --create-dirs -o {registry.cache_folder() / name} {ADDRESS}/{name}"
    return ""


def _find(name: str) -> Path | None:
    from weights import registry

    mirror, torch_cache = os.environ.get("FSV2V_WEIGHTS_MIRROR", ""), os.environ.get("TORCH_HOME", "~/.cache/torch")
    folders = [Path(mirror)] if mirror and "://" not in mirror else []
    folders += [registry.cache_folder(), Path(os.path.expanduser(torch_cache)) / "hub" / "checkpoints"]
    return next((folder / name for folder in folders if (folder / name).is_file()), None)


def _checked_path(name: str) -> Path:
    """The path of the file. Raises MissingRequirement if it does not exist, or its sha256 does not begin with the digits in its name."""
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
        """Loads its network from the checked file; the original would download it."""

        def _load_native(self, network_name: str, network_size: int, device: str, dtype: torch.dtype) -> nn.Module:
            network: nn.Module = FAN(network_size)
            network.load_state_dict(torch.load(_checked_path(NETWORK), map_location=device, weights_only=True))
            return network.to(device, dtype=dtype).eval()

    torch_device = str(choose_device(device))
    model = LocalFaceAlignment(
        face_alignment.LandmarksType.TWO_D,
        device=torch_device,
        face_detector="sfd",
        face_detector_kwargs={"path_to_detector": str(_checked_path(FACE_DETECTOR))},
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
