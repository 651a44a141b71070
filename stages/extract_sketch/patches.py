"""The square grey patch around a face that the dlib backend uses, in training and at run time."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE = 248
FACE_SIDE = 112
"""A patch shows 2.2 times the face's square, scaled so that the square is FACE_SIDE pixels wide: dlib's detector needs 80 or more."""

_SPREAD_TO_SIDE = 2.76
_LIFT = -0.06


@dataclass(frozen=True)
class Square:
    """A square in pixels: its centre (x, y) and side."""

    x: float
    y: float
    side: float


@dataclass(frozen=True)
class Patch:
    """grey: uint8 [SIDE, SIDE]; frame x = (patch x + 0.5) / scale + left - 0.5, and likewise y."""

    grey: NDArray[np.uint8]
    scale: float
    left: int
    top: int

    def to_frame(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """points [..., 2] of the patch -> of the frame."""
        return np.asarray((points + 0.5) / self.scale + np.array([self.left, self.top]) - 0.5, np.float32)

    def to_patch(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """points [..., 2] of the frame -> of the patch."""
        return np.asarray((points + 0.5 - np.array([self.left, self.top])) * self.scale - 0.5, np.float32)


def square_of_points(points: NDArray[np.float32]) -> Square:
    """The square that dlib's detector would draw on average around a face with these 68 points [68, >=2]."""
    centre = points[:, :2].mean(axis=0)
    side = _SPREAD_TO_SIDE * float(np.sqrt(((points[:, :2] - centre) ** 2).sum(axis=1).mean()))
    return Square(float(centre[0]), float(centre[1]) + _LIFT * side, side)


def cut_patch(frame: NDArray[np.uint8], square: Square) -> Patch:
    """The patch around `square` of a frame [H, W, 3] RGB or [H, W] grey; the border is repeated outside of the frame."""
    side = max(4, round(square.side * SIDE / FACE_SIDE))
    left, top = round(square.x - side / 2 + 0.5), round(square.y - side / 2 + 0.5)
    height, width = frame.shape[:2]
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + side, width), min(top + side, height)
    if x0 >= x1 or y0 >= y1:
        return Patch(np.zeros((SIDE, SIDE), np.uint8), SIDE / side, left, top)
    inside = frame[y0:y1, x0:x1]
    grey = cv2.cvtColor(inside, cv2.COLOR_RGB2GRAY) if inside.ndim == 3 else inside
    whole = cv2.copyMakeBorder(grey, y0 - top, top + side - y1, x0 - left, left + side - x1, cv2.BORDER_REPLICATE)
    method = cv2.INTER_AREA if side > SIDE else cv2.INTER_LINEAR
    return Patch(np.asarray(cv2.resize(whole, (SIDE, SIDE), interpolation=method), np.uint8), SIDE / side, left, top)
