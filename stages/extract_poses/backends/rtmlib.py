"""RTMW and DWPose (Jiang et al. 2023, Yang et al. 2023) in the packages rtmlib and onnxruntime: body, feet, hands and face of all people.

rtmlib downloads its two networks itself, unless they are in the folder FSV2V_WEIGHTS_MIRROR.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.backends import Backend, Package
from stages.errors import Fsv2vError, InputError, MissingRequirement
from stages.tables.skeletons import COCO_WHOLEBODY, POINT_COUNTS, convert_to_body_25
from stages.tracking.tracker import Detector, Subject

_PROJECTS = "https://download.openmmlab.com/mmpose/v1/projects/"
DETECTOR = f"{_PROJECTS}rtmposev1/onnx_sdk/yolox_m_8xb8-300e_humanart-c2c7a14a.zip"
WHOLE_BODY = f"{_PROJECTS}rtmw/onnx_sdk/rtmw-dw-x-l_simcc-cocktail14_270e-256x192_20231122.zip"
MIN_SCORE = 0.3
"""Points with a lower score are absent. A score is the height of a SimCC peak, far above 1 for a clearly visible point."""
FULL_SCORE = 4.0
"""The score that becomes a confidence of 1."""


class RtmlibPoses:
    """frame, uint8 RGB [H, W, 3] -> all people in it, with points [137, 3]: BODY_25, then OpenPose's 70 of the face and 21 of each hand."""

    def __init__(self, device: str) -> None:
        from rtmlib import YOLOX, RTMPose

        onnx_device = "cpu" if device in ("auto", "cpu") else device
        try:
            with contextlib.redirect_stdout(io.StringIO()):  # rtmlib prints what it loads
                self._detect = YOLOX(str(_fetch_file(DETECTOR)), _input_size(_fetch_file(DETECTOR)), device=onnx_device)
                width_and_height = _input_size(_fetch_file(WHOLE_BODY))[::-1]
                self._estimate = RTMPose(str(_fetch_file(WHOLE_BODY)), width_and_height, device=onnx_device)
        except Fsv2vError:
            raise
        except Exception as error:  # onnxruntime's errors have no class in common
            raise InputError(f"The networks of rtmlib cannot be used: {str(error).splitlines()[0]}", hint="Fetch them again") from error

    def __call__(self, frame: NDArray[np.uint8]) -> list[Subject]:
        image = np.ascontiguousarray(frame[:, :, ::-1])
        boxes = np.asarray(self._detect(image), np.float32).reshape(-1, 4)
        if not len(boxes):
            return []
        positions, scores = self._estimate(image, bboxes=boxes)
        people = (_subject(*person) for person in zip(boxes, positions, scores, strict=True))
        return [person for person in people if person.points[: POINT_COUNTS["keypoints"], 2].any()]


def _subject(box: NDArray[np.float32], positions: NDArray[Any], scores: NDArray[Any]) -> Subject:
    confidence = np.where(scores < MIN_SCORE, 0, np.clip(scores / FULL_SCORE, 0, 1))
    points = np.concatenate([positions, confidence[:, None]], axis=1).astype(np.float32)
    points[points[:, 2] == 0] = 0
    parts = convert_to_body_25(points, COCO_WHOLEBODY)
    return Subject(box, np.concatenate([parts.get(name, np.zeros((count, 3), np.float32)) for name, count in POINT_COUNTS.items()]))


@functools.cache
def _fetch_file(url: str) -> Path:
    """The ONNX file in the archive at this address. Raises MissingRequirement when it cannot be fetched."""
    name = f"{Path(url).stem}.onnx"
    mirror = os.environ.get("FSV2V_WEIGHTS_MIRROR")
    if mirror and (Path(mirror) / name).is_file():
        return Path(mirror) / name
    from rtmlib.tools.file import download_checkpoint

    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            return Path(download_checkpoint(url))
    except Exception as error:  # rtmlib passes on every error of its downloader
        hint = f"Run it again with an internet connection, or put {name} into the folder of the variable FSV2V_WEIGHTS_MIRROR"
        raise MissingRequirement(f"The network {name} of rtmlib is not on this machine and cannot be fetched", hint=hint) from error


def _input_size(file: Path) -> tuple[int, int]:
    """Height and width of a network's input."""
    import onnxruntime

    height, width = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"]).get_inputs()[0].shape[2:]
    return int(height), int(width)


def _digests() -> Mapping[str, str]:
    from stages.io.digests import file_sha256

    return {_fetch_file(url).name: file_sha256(_fetch_file(url)) for url in (DETECTOR, WHOLE_BODY)}


def _open(device: str) -> Detector:
    return RtmlibPoses(device)


BACKEND = Backend(
    name="rtmlib",
    produces="BODY_25 keypoints, hands and face of all people; fetches its networks on first use",
    open=_open,
    packages=(Package("rtmlib", "'fsv2v[rtmlib]'"), Package("onnxruntime", "'fsv2v[rtmlib]'")),
    points=sum(POINT_COUNTS.values()),
    digests=_digests,
)
