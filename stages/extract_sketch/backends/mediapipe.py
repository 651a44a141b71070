"""MediaPipe's face landmarker: a 478-point mesh, mapped to the 68 points of iBUG and the ten points of the irises."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from stages.backends import Backend, Package
from stages.compute.mediapipe_task import FRAME_MILLISECONDS, UNFILTERED_MILLISECONDS, VisionTask
from stages.conditions.landmarks import IRIS_POINTS, LANDMARKS
from stages.extract_sketch.faces import FACE_POINTS, Detector, Face, box_of_points
from stages.tables.mesh68 import IRISES, mesh_to_68
from stages.tracking.multi_person import FACE_TILES, CrowdDetector
from stages.tracking.multi_person import MAX_PERSONS as MAX_FOLLOWED
from stages.tracking.tracker import point_distance

WEIGHTS = "face_landmarker.task"
MAX_FACES = 4
"""Largest number of faces that the landmarker returns for one image. A crowd is detected by `CrowdDetector`, in parts of the image."""
MAX_IRIS_DISTANCE = 0.12
"""Largest distance between the centres of an iris and of its eye, relative to `Face.size`. Half the width of an eye is about 0.08."""
EYES = slice(36, 48)
"""The points of both eyes."""
REDETECTION_SIDE = 2.5
"""Side of the part of the image in which a face is detected again, relative to `Face.size`."""
MAX_REDETECTION_DISTANCE = 0.3
"""A face that is detected in this part is the same face only if its `point_distance` from the first detection is smaller."""


class MediapipeFaces:
    """Called with the frames of a clip in order; returns the faces in each.

    The landmarker's video mode tracks a face where its detector fails, as in profile or in a blurred frame. With a limit of one face it
    also filters the points in time, so that they lag; with a limit of several it does not, and the stage filters them later without lag. A
    "follower" tracks one face of a crowd. Its large time steps (`UNFILTERED_MILLISECONDS`) also turn the filter off.

    In a small face the landmarker may miss the eyes, and then the irises lie far outside of them. Such a face is detected again in the part
    of the image around it. If the irises of the new detection are not in the eyes either, they are marked as missing.
    """

    def __init__(self, weights: str, mode: Literal["video", "image", "follower"] = "video") -> None:
        step = {"video": FRAME_MILLISECONDS, "image": None, "follower": UNFILTERED_MILLISECONDS}[mode]
        self._task, self._weights = _open_task(weights, mode, step), weights

    def __call__(self, frame: NDArray[np.uint8]) -> list[Face]:
        return [face if _irises_in_eyes(face) else self._redetect(frame, face) for face in _faces(self._task, frame)]

    @cached_property
    def _redetection_task(self) -> VisionTask:
        return _open_task(self._weights, "image", None)

    def _redetect(self, frame: NDArray[np.uint8], face: Face) -> Face:
        """The same face, detected in the part of the frame around it; without irises if this fails."""
        side = REDETECTION_SIDE * max(face.size, 8.0)
        x0, y0 = (max(int(start), 0) for start in face.centre - side / 2)
        x1, y1 = (int(stop) for stop in face.centre + side / 2)
        for found in _faces(self._redetection_task, frame[y0:y1, x0:x1]):
            shifted = Face(found.box + np.array([x0, y0, x0, y0], np.float32), found.points + np.array([x0, y0, 0], np.float32))
            if _irises_in_eyes(shifted) and point_distance(shifted, face) < MAX_REDETECTION_DISTANCE:
                return shifted
        return Face(face.box, np.concatenate([face.points[:LANDMARKS], np.zeros((IRIS_POINTS, 3), np.float32)]))


def _open_task(weights: str, mode: str, step: int | None) -> VisionTask:
    return VisionTask(lambda vision: _create_landmarker(vision, weights, mode), lambda result: bool(result.face_landmarks), step)


def _create_landmarker(vision: Any, weights: str, mode: str) -> Any:
    from mediapipe.tasks.python import BaseOptions

    options = vision.FaceLandmarkerOptions(
        base_options=BaseOptions(model_asset_path=weights),
        running_mode=vision.RunningMode.IMAGE if mode == "image" else vision.RunningMode.VIDEO,
        num_faces=1 if mode == "follower" else MAX_FACES,
    )
    return vision.FaceLandmarker.create_from_options(options)


def _faces(task: VisionTask, image: NDArray[np.uint8]) -> list[Face]:
    height, width = image.shape[:2]
    return [_face(landmarks, width, height) for landmarks in task(image).face_landmarks]


def _irises_in_eyes(face: Face) -> bool:
    """Whether both irises of a face are near the centres of its eyes."""
    eyes = face.points[EYES, :2].reshape(2, -1, 2).mean(1)
    irises = face.points[LANDMARKS:, :2].reshape(2, -1, 2).mean(1)
    return bool(np.linalg.norm(irises - eyes, axis=1).max() <= MAX_IRIS_DISTANCE * face.size)


def _face(landmarks: Any, width: int, height: int) -> Face:
    """A face from MediaPipe's landmarks, which are relative to the image's size.

    Multiplied by that size, they are in pixels, with pixel centres at integers (mediapipe issues 739 and 1192).
    """
    mesh = np.array([(point.x * width, point.y * height, 1.0) for point in landmarks], np.float32)
    points = mesh_to_68(mesh)
    return Face(box_of_points(points), np.concatenate([points, mesh[IRISES]]))


def _open(device: str) -> Detector:
    from weights import registry

    return MediapipeFaces(str(registry.path(WEIGHTS)))


def _open_many(device: str) -> Detector:
    from weights import registry

    weights = str(registry.path(WEIGHTS))
    return CrowdDetector(MediapipeFaces(weights, "image"), lambda: MediapipeFaces(weights, "follower"), FACE_TILES)


BACKEND = Backend(
    name="mediapipe",
    produces=f"68 points and both irises from a 478-point mesh, up to {MAX_FOLLOWED} faces",
    open=_open,
    open_many=_open_many,
    packages=(Package("mediapipe", "mediapipe"),),
    weights=(WEIGHTS,),
    points=FACE_POINTS,
    revision=2,
)
