"""Canny edges of what is not the face (vid2vid, section 4: "for background, we extract Canny edges outside the face regions")."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from stages.clip import Clip
from stages.conditions.landmarks import forehead, stroke_width

LOW, HIGH = 60, 160
"""Canny's two thresholds, on grey values 0 to 255."""


def edges(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """All edges of a frame [H, W, 3] packed into bits: uint8 [H, ceil(W / 8)], to save memory."""
    grey = cv2.GaussianBlur(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), (5, 5), 0)
    return np.packbits(np.asarray(cv2.Canny(grey, LOW, HIGH), np.uint8), axis=1)


def outside_faces(packed: NDArray[np.uint8], points: NDArray[np.float32], width: int) -> NDArray[np.uint8]:
    """Edges from `edges`, uint8 [H, W] of 0 and 255, without those inside the hull of a face. points [P, 68, 3]."""
    whole: NDArray[np.uint8] = np.unpackbits(packed, axis=1, count=width) * np.uint8(255)
    for face in points:
        if face[:, 2].any():
            outline = np.concatenate([face[:, :2], forehead(face[:17, :2])])
            hull = cv2.convexHull(np.round(np.clip(outline, -32000, 32000)).astype(np.int32))
            cv2.fillConvexPoly(whole, hull, 0)
            cv2.polylines(whole, [hull], True, 0, 4 * stroke_width(face))
    return whole


class FrameReader:
    """The frames of a clip one after another: a video is opened once, not again for each frame. Threads may share it."""

    def __init__(self, clip: Clip) -> None:
        self._clip = clip
        self._lock = threading.Lock()
        self._ahead: Iterator[NDArray[np.uint8]] = iter(())
        self._index = -1
        self._frame: NDArray[np.uint8] | None = None

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        """Frame `index`, uint8 RGB [H, W, 3]. It is read from the start of its group of pictures unless it follows the last one."""
        with self._lock:
            if self._frame is None or index != self._index:
                if self._frame is None or index != self._index + 1:
                    self._ahead = self._clip.frames(index)
                self._frame, self._index = next(self._ahead), index
            return self._frame
