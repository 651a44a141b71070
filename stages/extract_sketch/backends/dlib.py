"""dlib's frontal face detector with fsv2v's own 68-point predictor, which is shipped: needs no download."""

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
"""The longer side, in pixels, to which a frame is scaled for a search; the second is tried when the first shows no face."""
SEARCH_EVERY = 12
MIN_SCORE = -0.2
FINER = 4
"""Factor by which a patch is enlarged, since dlib rounds points to whole pixels."""
SHIFTS = ((0.0, 0.0, 1.0), (0.03, 0.03, 0.95), (-0.03, -0.03, 1.05))
"""Boxes of the fits that are averaged: x, y in units of the box's side, scale."""


class DlibFaces:
    """Faces of the frames of one clip, given in order.

    The whole frame is searched every SEARCH_EVERY frames, and when a face is lost; in between, the detector runs only on a small patch
    around each known face, which is fast.
    """

    def __init__(self, weights: str) -> None:
        self._detector, self._predictor = _load(weights)
        self._known: list[Square] = []
        self._since_search = SEARCH_EVERY

    def __call__(self, frame: NDArray[np.uint8]) -> list[Face]:
        self._since_search += 1
        faces = self._confirm(frame, self._known)
        if len(faces) < len(self._known) or not faces or self._since_search >= SEARCH_EVERY:
            faces = _merged(faces, self._confirm(frame, self._search(frame)))
            self._since_search = 0
        self._known = [square_of_points(face.points) for face in faces]
        return faces

    def _search(self, frame: NDArray[np.uint8]) -> list[Square]:
        grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        longer = max(grey.shape)
        for side in SEARCH_SIDES:
            scale = side / longer
            method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
            boxes, scores, _ = self._detector.run(cv2.resize(grey, None, fx=scale, fy=scale, interpolation=method), 0, MIN_SCORE)
            if len(boxes) or side >= longer:
                break
        return [_square(box, scale) for box in boxes]

    def _confirm(self, frame: NDArray[np.uint8], squares: list[Square]) -> list[Face]:
        return [face for square in squares if (face := self._face(cut_patch(frame, square))) is not None]

    def _face(self, patch: Patch) -> Face | None:
        boxes, scores, _ = self._detector.run(patch.grey, 0, MIN_SCORE)
        if not len(boxes):
            return None
        best = int(np.argmin([abs(box.center().x - SIDE // 2) + abs(box.center().y - SIDE // 2) for box in boxes]))
        points = fit(self._predictor, patch.grey, boxes[best])
        confidence = np.full((68, 1), np.clip((scores[best] + 1) / 2, 0.05, 1.0), np.float32)
        points = np.concatenate([patch.to_frame(points), confidence], axis=1)
        return Face(box_of_points(points), points)


def fit(predictor: Any, grey: NDArray[np.uint8], box: Any) -> NDArray[np.float32]:
    """The 68 points [68, 2] of the face in `box` of the patch `grey`.

    A first fit in `box` gives a better box. The mean over fits around that, in the patch and in its mirror image, lowers the error by 5 %.
    """
    finer = np.asarray(cv2.resize(grey, None, fx=FINER, fy=FINER, interpolation=cv2.INTER_LINEAR), np.uint8)
    mirrored = np.ascontiguousarray(finer[:, ::-1])
    square = square_of_points(_predict(predictor, finer, box))
    fits = []
    for dx, dy, scale in SHIFTS:
        shifted = Square(square.x + dx * square.side, square.y + dy * square.side, square.side * scale)
        fits.append(_predict(predictor, finer, rectangle_of(shifted)))
        seen = _predict(predictor, mirrored, rectangle_of(replace(shifted, x=SIDE - 1 - shifted.x)))[MIRROR]
        fits.append(np.array([SIDE - 1, 0], np.float32) + seen * np.array([-1, 1], np.float32))
    return np.asarray(np.mean(fits, axis=0), np.float32)


def rectangle_of(square: Square) -> Any:
    """`square` as a dlib rectangle."""
    import dlib

    left, top = round(square.x - square.side / 2 + 0.5), round(square.y - square.side / 2 + 0.5)
    return dlib.rectangle(left, top, left + round(square.side) - 1, top + round(square.side) - 1)


def _predict(predictor: Any, finer: NDArray[np.uint8], box: Any) -> NDArray[np.float32]:
    """The 68 points in pixels of the patch, predicted in `finer`, which is FINER times larger; `box` is in pixels of the patch."""
    import dlib

    scaled = dlib.rectangle(box.left() * FINER, box.top() * FINER, box.right() * FINER + FINER - 1, box.bottom() * FINER + FINER - 1)
    parts = predictor(finer, scaled).parts()
    return ((np.array([(point.x, point.y) for point in parts]) + 0.5) / FINER - 0.5).astype(np.float32)


def _square(box: Any, scale: float) -> Square:
    centre = box.center()
    return Square((centre.x + 0.5) / scale - 0.5, (centre.y + 0.5) / scale - 0.5, box.width() / scale)


def _merged(known: list[Face], found: list[Face]) -> list[Face]:
    """`known`, and the faces of `found` that are new."""
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
    produces="68 points of faces that look towards the camera; works without a network",
    open=_open,
    packages=(Package("dlib", "dlib-bin"),),
    weights=(WEIGHTS,),
)
