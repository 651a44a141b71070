"""MediaPipe's pose landmarker, lite: 33 points per person, mapped to BODY_25.

On a whole image it finds the most prominent people. For a crowd it searches parts of the image as well, which takes longer.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from stages.backends import Backend, Package
from stages.compute.mediapipe_task import FRAME_MILLISECONDS, UNFILTERED_MILLISECONDS, VisionTask
from stages.conditions.poses import NECK, NOSE
from stages.tables.skeletons import boxes_of, from_mediapipe
from stages.tracking.multi_person import MAX_PERSONS as MAX_FOLLOWED
from stages.tracking.multi_person import CrowdDetector
from stages.tracking.tracker import Detector, Subject

WEIGHTS = "pose_landmarker_lite.task"
MAX_PERSONS = 6
MIN_VISIBILITY = 0.3


class MediapipePoses:
    """Called with the frames of a clip in order; returns the people in each.

    With a limit of one person, MediaPipe's video mode filters the points in time, so that they lag. With a limit of several it does not. A
    "follower" tracks one person of a crowd. Its large time steps (`UNFILTERED_MILLISECONDS`) also turn the filter off, and its thresholds
    are lower.
    """

    def __init__(self, weights: str, mode: Literal["video", "image", "follower"] = "video") -> None:
        step = {"video": FRAME_MILLISECONDS, "image": None, "follower": UNFILTERED_MILLISECONDS}[mode]
        self._task = VisionTask(lambda vision: _create_landmarker(vision, weights, mode), lambda result: bool(result.pose_landmarks), step)

    def __call__(self, frame: NDArray[np.uint8]) -> list[Subject]:
        height, width = frame.shape[:2]
        persons = (_person(landmarks, width, height) for landmarks in self._task(frame).pose_landmarks)
        return [person for person in persons if person.points[[NOSE, NECK], 2].any()]  # legs alone may be those of a chair


def _create_landmarker(vision: Any, weights: str, mode: str) -> Any:
    from mediapipe.tasks.python import BaseOptions

    thresholds = {"min_pose_presence_confidence": 0.3, "min_tracking_confidence": 0.3} if mode == "follower" else {}
    options = vision.PoseLandmarkerOptions(
        base_options=BaseOptions(model_asset_path=weights),
        running_mode=vision.RunningMode.IMAGE if mode == "image" else vision.RunningMode.VIDEO,
        num_poses=1 if mode == "follower" else MAX_PERSONS,
        **thresholds,
    )
    return vision.PoseLandmarker.create_from_options(options)


def _person(landmarks: Any, width: int, height: int) -> Subject:
    """A person from MediaPipe's landmarks, which are relative to the image's size.

    Points that are hidden or outside the image are removed: MediaPipe only guesses them, and OpenPose does not have them either.
    """
    points = np.array([(point.x * width, point.y * height, point.visibility or 0.0) for point in landmarks], np.float32)
    inside = (points[:, :2] > -0.5).all(axis=1) & (points[:, 0] < width - 0.5) & (points[:, 1] < height - 0.5)
    points[~inside | (points[:, 2] < MIN_VISIBILITY), 2] = 0
    keypoints = from_mediapipe(points)
    return Subject(boxes_of(keypoints), keypoints)


def _open(device: str) -> Detector:
    from weights import registry

    return MediapipePoses(str(registry.path(WEIGHTS)))


def _open_many(device: str) -> Detector:
    from weights import registry

    weights = str(registry.path(WEIGHTS))
    return CrowdDetector(MediapipePoses(weights, "image"), lambda: MediapipePoses(weights, "follower"))


BACKEND = Backend(
    name="mediapipe",
    produces=f"BODY_25 keypoints without small toes, up to {MAX_FOLLOWED} persons",
    open=_open,
    open_many=_open_many,
    packages=(Package("mediapipe", "mediapipe"),),
    weights=(WEIGHTS,),
    revision=1,
)
