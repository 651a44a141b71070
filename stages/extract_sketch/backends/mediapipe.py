"""MediaPipe's face landmarker: a 478-point mesh, mapped to the 68 points of iBUG."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.backends import Backend, Package
from stages.extract_sketch.faces import Detector, Face, box_of_points
from stages.extract_sketch.mesh68 import mesh_to_68
from stages.mediapipe_task import FRAME_MILLISECONDS, open_task, vision

WEIGHTS = "face_landmarker.task"
MAX_FACES = 4


class MediapipeFaces:
    """Faces of the frames of one clip, given in order.

    The landmarker's video mode falls back on tracking where its detector misses (a profile, a blurred frame). With one face it would also
    apply a causal filter, which lags; looking for several switches that off, and the stage filters without lag later.
    """

    def __init__(self, weights: str) -> None:
        tasks = vision()
        from mediapipe.tasks.python import BaseOptions

        options = tasks.FaceLandmarkerOptions(
            base_options=BaseOptions(model_asset_path=weights), running_mode=tasks.RunningMode.VIDEO, num_faces=MAX_FACES
        )
        self._frames = 0
        self._landmarker = open_task(self, lambda: tasks.FaceLandmarker.create_from_options(options), self._nothing)

    def _nothing(self, landmarker: Any) -> None:
        self._detect(landmarker, np.zeros((64, 64, 3), np.uint8))

    def _detect(self, landmarker: Any, frame: NDArray[np.uint8]) -> Any:
        import mediapipe

        image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(frame))
        self._frames += 1
        return landmarker.detect_for_video(image, self._frames * FRAME_MILLISECONDS)

    def __call__(self, frame: NDArray[np.uint8]) -> list[Face]:
        height, width = frame.shape[:2]
        return [_face(landmarks, width, height) for landmarks in self._detect(self._landmarker, frame).face_landmarks]


def _face(landmarks: Any, width: int, height: int) -> Face:
    mesh = np.array([(point.x * width - 0.5, point.y * height - 0.5, 1.0) for point in landmarks], np.float32)
    points = mesh_to_68(mesh)
    return Face(box_of_points(points), points)


def _open(device: str) -> Detector:
    from weights import registry

    return MediapipeFaces(str(registry.path(WEIGHTS)))


BACKEND = Backend(
    name="mediapipe",
    produces="68 points from a 478-point mesh, up to 4 faces",
    open=_open,
    packages=(Package("mediapipe", "mediapipe"),),
    weights=(WEIGHTS,),
)
