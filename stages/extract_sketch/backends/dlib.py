"""dlib's frontal face detector with fsv2v's own predictor of 68 points, which is shipped, so that no download is needed."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from stages.backends import Backend, Package
from stages.conditions.landmarks import MIRROR
from stages.extract_sketch.faces import Detector, Face, box_of_points
from stages.extract_sketch.patches import SIDE, Patch, Square, cut_patch, square_of_points

WEIGHTS = "face_68_fsv2v.dat"
SEARCH_SIDES = (480, 960)
"""The longer side, in pixels, to which a frame is scaled for a search. The second is tried when nothing is found with the first."""
SEARCH_EVERY = 12
"""Number of frames between two searches of the whole frame."""
MIN_SCORE = -0.2
"""Faces with a lower score of dlib's detector are ignored. Its default is 0."""
ENLARGEMENT = 4
"""Factor by which a patch is enlarged, because dlib rounds points to whole pixels."""
BOX_VARIATIONS = ((0.0, 0.0, 1.0), (0.03, 0.03, 0.95), (-0.03, -0.03, 1.05))
"""The variations of a box whose predictions are averaged: shift in x and y, in units of the box's side, and scale."""


class DlibFaces:
    """Called with the frames of a clip in order; returns the faces in each.

    The whole frame is searched every SEARCH_EVERY frames, and when a face is lost. In between, the detector runs only on a small patch
    around each known face, which is fast.
    """

    def __init__(self, weights: str) -> None:
        self._detector, self._predictor = _load(weights)
        self._known: list[Square] = []
        self._since_search = SEARCH_EVERY

    def __call__(self, frame: NDArray[np.uint8]) -> list[Face]:
        self._since_search += 1
        faces = self._detect_in(frame, self._known)
        if len(faces) < len(self._known) or not faces or self._since_search >= SEARCH_EVERY:
            faces = _add_new(faces, self._detect_in(frame, self._search(frame)))
            self._since_search = 0
        self._known = [square_of_points(face.points) for face in faces]
        return faces

    def _search(self, frame: NDArray[np.uint8]) -> list[Square]:
        """The squares of faces in the whole frame."""
        grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        longer = max(grey.shape)
        for side in SEARCH_SIDES:
            scale = side / longer
            method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
            boxes, scores, _ = self._detector.run(cv2.resize(grey, None, fx=scale, fy=scale, interpolation=method), 0, MIN_SCORE)
            if len(boxes) or side >= longer:
                break
        return [_square(box, scale) for box in boxes]

    def _detect_in(self, frame: NDArray[np.uint8], squares: list[Square]) -> list[Face]:
        """The faces in patches around squares."""
        return [face for square in squares if (face := self._face(cut_patch(frame, square))) is not None]

    def _face(self, patch: Patch) -> Face | None:
        """The face nearest to the centre of a patch."""
        boxes, scores, _ = self._detector.run(patch.grey, 0, MIN_SCORE)
        if not len(boxes):
            return None
        best = int(np.argmin([abs(box.center().x - SIDE // 2) + abs(box.center().y - SIDE // 2) for box in boxes]))
        points = fit_landmarks(self._predictor, patch.grey, boxes[best])
        confidence = np.full((68, 1), np.clip((scores[best] + 1) / 2, 0.05, 1.0), np.float32)
        points = np.concatenate([patch.to_frame(points), confidence], axis=1)
        return Face(box_of_points(points), points)


def fit_landmarks(predictor: Any, grey: NDArray[np.uint8], box: Any) -> NDArray[np.float32]:
    """The landmarks [68, 2] of the face in `box` of the patch `grey`, in pixels of the patch.

    A first prediction in `box` gives a better box. Averaging predictions in variations of that box, in the patch and in its mirror image,
    reduces the error by 5 %.
    """
    enlarged = np.asarray(cv2.resize(grey, None, fx=ENLARGEMENT, fy=ENLARGEMENT, interpolation=cv2.INTER_LINEAR), np.uint8)
    mirrored = np.ascontiguousarray(enlarged[:, ::-1])
    square = square_of_points(_predict(predictor, enlarged, box))
    predictions = []
    for dx, dy, scale in BOX_VARIATIONS:
        shifted = Square(square.x + dx * square.side, square.y + dy * square.side, square.side * scale)
        predictions.append(_predict(predictor, enlarged, rectangle_of(shifted)))
        in_mirror = _predict(predictor, mirrored, rectangle_of(replace(shifted, x=SIDE - 1 - shifted.x)))[MIRROR]
        predictions.append(np.array([SIDE - 1, 0], np.float32) + in_mirror * np.array([-1, 1], np.float32))
    return np.asarray(np.mean(predictions, axis=0), np.float32)


def rectangle_of(square: Square) -> Any:
    """`square` as a dlib rectangle."""
    import dlib

    left, top = round(square.x - square.side / 2 + 0.5), round(square.y - square.side / 2 + 0.5)
    return dlib.rectangle(left, top, left + round(square.side) - 1, top + round(square.side) - 1)


def _predict(predictor: Any, enlarged: NDArray[np.uint8], box: Any) -> NDArray[np.float32]:
    """The landmarks in pixels of the patch, predicted in the enlarged patch. `box` is in pixels of the patch."""
    import dlib

    scaled = dlib.rectangle(
        box.left() * ENLARGEMENT, box.top() * ENLARGEMENT, (box.right() + 1) * ENLARGEMENT - 1, (box.bottom() + 1) * ENLARGEMENT - 1
    )
    parts = predictor(enlarged, scaled).parts()
    return ((np.array([(point.x, point.y) for point in parts]) + 0.5) / ENLARGEMENT - 0.5).astype(np.float32)


def _square(box: Any, scale: float) -> Square:
    """A dlib rectangle in a scaled frame as a square in the frame."""
    centre = box.center()
    return Square((centre.x + 0.5) / scale - 0.5, (centre.y + 0.5) / scale - 0.5, box.width() / scale)


def _add_new(known: list[Face], found: list[Face]) -> list[Face]:
    """The known faces, and those found faces that are not known yet."""
    faces = list(known)
    for face in found:
        centres = [other.points[:, :2].mean(axis=0) for other in faces]
        if all(np.linalg.norm(centre - face.points[:, :2].mean(axis=0)) > face.size / 2 for centre in centres):
            faces.append(face)
    return faces


@functools.lru_cache(maxsize=2)
def _load(weights: str) -> tuple[Any, Any]:
    import dlib

    return dlib.get_frontal_face_detector(), dlib.shape_predictor(weights)


def _open(device: str) -> Detector:
    from weights import registry

    return DlibFaces(str(registry.path(WEIGHTS)))


BACKEND = Backend(
    name="dlib",
    produces="68 points of faces that look towards the camera; works offline",
    open=_open,
    packages=(Package("dlib", "dlib-bin"),),
    weights=(WEIGHTS,),
)
