"""MediaPipe's pose landmarker, lite: 33 points per person, mapped to BODY_25."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.backends import Backend, Package
from stages.conditions.poses import from_mediapipe
from stages.following import Subject, box_of_points
from stages.mediapipe_task import VideoTask

WEIGHTS = "pose_landmarker_lite.task"
MAX_PERSONS = 6
LEAST_VISIBILITY = 0.3


class MediapipePoses:
    """Persons of the frames of one clip, given in order.

    Looking for several persons also keeps MediaPipe from filtering one person's points in time, which lags.
    """

    def __init__(self, weights: str) -> None:
        self._task = VideoTask(lambda vision: _create(vision, weights), lambda result: bool(result.pose_landmarks))

    def __call__(self, frame: NDArray[np.uint8]) -> list[Subject]:
        height, width = frame.shape[:2]
        persons = (_person(landmarks, width, height) for landmarks in self._task(frame).pose_landmarks)
        return [person for person in persons if person.points[:, 2].any()]


def _create(vision: Any, weights: str) -> Any:
    from mediapipe.tasks.python import BaseOptions

    options = vision.PoseLandmarkerOptions(
        base_options=BaseOptions(model_asset_path=weights), running_mode=vision.RunningMode.VIDEO, num_poses=MAX_PERSONS
    )
    return vision.PoseLandmarker.create_from_options(options)


def _person(landmarks: Any, width: int, height: int) -> Subject:
    """Points that MediaPipe only guesses, hidden ones and those outside the picture, count as not there, as with OpenPose."""
    points = np.array([(point.x * width - 0.5, point.y * height - 0.5, point.visibility or 0.0) for point in landmarks], np.float32)
    inside = (points[:, :2] > -0.5).all(axis=1) & (points[:, 0] < width - 0.5) & (points[:, 1] < height - 0.5)
    points[~inside | (points[:, 2] < LEAST_VISIBILITY), 2] = 0
    keypoints = from_mediapipe(points)
    return Subject(box_of_points(keypoints[keypoints[:, 2] > 0]), keypoints)


def _open(device: str) -> Callable[[NDArray[np.uint8]], list[Subject]]:
    from weights import registry

    return MediapipePoses(str(registry.path(WEIGHTS)))


BACKEND = Backend(
    name="mediapipe",
    produces=f"BODY_25 keypoints without small toes, up to {MAX_PERSONS} persons",
    open=_open,
    packages=(Package("mediapipe", "mediapipe"),),
    weights=(WEIGHTS,),
)
