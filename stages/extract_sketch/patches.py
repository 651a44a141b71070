"""The square grey patch around a face that the dlib backend uses, in training and in detection."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE = 248
"""Side of a patch in pixels."""
FACE_SIDE = 112
"""Side of the face's square in a patch, in pixels: 1 / 2.2 of the patch. dlib's detector needs at least 80."""

_SIDE_PER_SPREAD = 2.76
"""Side of a face's square, in units of the root mean squared distance of the landmarks from their mean."""
_CENTRE_SHIFT = -0.06
"""From the mean of the landmarks down to the centre of the square, in units of its side."""


@dataclass(frozen=True)
class Square:
    """A square in pixels: its centre (x, y) and side."""

    x: float
    y: float
    side: float


@dataclass(frozen=True)
class Patch:
    """grey: uint8 [SIDE, SIDE]; scale: pixels of the patch per pixel of the frame; left, top: its corner in pixels of the frame."""

    grey: NDArray[np.uint8]
    scale: float
    left: int
    top: int

    def to_frame(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """Points [..., 2] from pixels of the patch to pixels of the frame."""
        return np.asarray((points + 0.5) / self.scale + np.array([self.left, self.top]) - 0.5, np.float32)

    def to_patch(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """Points [..., 2] from pixels of the frame to pixels of the patch."""
        return np.asarray((points + 0.5 - np.array([self.left, self.top])) * self.scale - 0.5, np.float32)


def square_of_points(points: NDArray[np.float32]) -> Square:
    """The square that dlib's detector gives on average for a face with these landmarks [68, >=2]."""
    centre = points[:, :2].mean(axis=0)
    side = _SIDE_PER_SPREAD * float(np.sqrt(((points[:, :2] - centre) ** 2).sum(axis=1).mean()))
    return Square(float(centre[0]), float(centre[1]) + _CENTRE_SHIFT * side, side)


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
