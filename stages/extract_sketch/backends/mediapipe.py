"""MediaPipe's face landmarker: a 478-point mesh, mapped to the 68 points of iBUG and the ten points of the irises."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from stages.backends import Backend, Package
from stages.extract_sketch.faces import FACE_POINTS, Detector, Face, box_of_points
from stages.mediapipe_task import FRAME_MILLISECONDS, UNFILTERED_MILLISECONDS, VisionTask
from stages.tables.mesh68 import IRISES, mesh_to_68
from stages.tracking.multi_person import FACE_TILES, Crowd

WEIGHTS = "face_landmarker.task"
MAX_FACES = 4


class MediapipeFaces:
    """Called with the frames of a clip in order; returns the faces in each.

    The landmarker's video mode tracks a face where its detector fails, as in profile or in a blurred frame. With a limit of one face it
    also filters the points in time, so that they lag; with a limit of several it does not, and the stage filters them later without lag. A
    "follower" tracks one face of a crowd; its time stamps are hours apart, which also turns the filter off.
    """

    def __init__(self, weights: str, mode: Literal["video", "image", "follower"] = "video") -> None:
        step = {"video": FRAME_MILLISECONDS, "image": None, "follower": UNFILTERED_MILLISECONDS}[mode]
        self._task = VisionTask(lambda vision: _create_landmarker(vision, weights, mode), lambda result: bool(result.face_landmarks), step)

    def __call__(self, frame: NDArray[np.uint8]) -> list[Face]:
        height, width = frame.shape[:2]
        return [_face(landmarks, width, height) for landmarks in self._task(frame).face_landmarks]


def _create_landmarker(vision: Any, weights: str, mode: str) -> Any:
    from mediapipe.tasks.python import BaseOptions

    options = vision.FaceLandmarkerOptions(
        base_options=BaseOptions(model_asset_path=weights),
        running_mode=vision.RunningMode.IMAGE if mode == "image" else vision.RunningMode.VIDEO,
        num_faces=1 if mode == "follower" else MAX_FACES,
    )
    return vision.FaceLandmarker.create_from_options(options)


def _face(landmarks: Any, width: int, height: int) -> Face:
    """MediaPipe's coordinates times the image's size are pixels whose centres lie at integers (mediapipe issues 739 and 1192)."""
    mesh = np.array([(point.x * width, point.y * height, 1.0) for point in landmarks], np.float32)
    points = mesh_to_68(mesh)
    return Face(box_of_points(points), np.concatenate([points, mesh[IRISES]]))


def _open(device: str) -> Detector:
    from weights import registry

    return MediapipeFaces(str(registry.path(WEIGHTS)))


def _open_many(device: str) -> Detector:
    from weights import registry

    weights = str(registry.path(WEIGHTS))
    return Crowd(MediapipeFaces(weights, "image"), lambda: MediapipeFaces(weights, "follower"), FACE_TILES)


BACKEND = Backend(
    name="mediapipe",
    produces="68 points and both irises from a 478-point mesh, up to 10 faces",
    open=_open,
    open_many=_open_many,
    packages=(Package("mediapipe", "mediapipe"),),
    weights=(WEIGHTS,),
    points=FACE_POINTS,
    revision=1,
)
