"""Masks of people: the segmentation of MediaPipe's pose landmarker."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.backends import Backend, Package
from stages.compute.mediapipe_task import VisionTask
from stages.segment.backends import PersonFinder

WEIGHTS = "pose_landmarker_lite.task"
MAX_PERSONS = 6
MIN_PROBABILITY = 0.5


class PersonMasks:
    """frame, uint8 RGB [H, W, 3] -> bool [H, W], True on people. Frames of one clip are given in order."""

    def __init__(self, weights: str) -> None:
        self._task = VisionTask(lambda vision: _create_landmarker(vision, weights), lambda result: bool(result.pose_landmarks))

    def __call__(self, frame: NDArray[np.uint8]) -> NDArray[np.bool_]:
        people = np.zeros(frame.shape[:2], np.bool_)
        for mask in self._task(frame).segmentation_masks or ():
            people |= mask.numpy_view().reshape(people.shape) > MIN_PROBABILITY
        return people


def _create_landmarker(vision: Any, weights: str) -> Any:
    from mediapipe.tasks.python import BaseOptions

    options = vision.PoseLandmarkerOptions(
        base_options=BaseOptions(model_asset_path=weights),
        running_mode=vision.RunningMode.VIDEO,
        num_poses=MAX_PERSONS,
        output_segmentation_masks=True,
    )
    return vision.PoseLandmarker.create_from_options(options)


def _open(device: str) -> PersonFinder:
    from weights import registry

    return PersonMasks(str(registry.path(WEIGHTS)))


BACKEND = Backend(
    name="person",
    produces="a mask of all persons",
    open=_open,
    packages=(Package("mediapipe", "mediapipe"),),
    weights=(WEIGHTS,),
)
