"""Canny edges of the background of a face (vid2vid, section 4: "for background, we extract Canny edges outside the face regions")."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from stages.clip import Clip
from stages.conditions.landmarks import forehead, stroke_width

LOW, HIGH = 60, 160
"""The two thresholds of Canny, for grey values from 0 to 255."""


def packed_edges(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """All edges of a frame [H, W, 3], packed into bits to save memory: uint8 [H, ceil(W / 8)]."""
    grey = cv2.GaussianBlur(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), (5, 5), 0)
    return np.packbits(np.asarray(cv2.Canny(grey, LOW, HIGH), np.uint8), axis=1)


def edges_outside_faces(packed: NDArray[np.uint8], points: NDArray[np.float32], width: int) -> NDArray[np.uint8]:
    """The edges from `packed_edges` that lie outside all faces, uint8 [H, W] of 0 and 255. points [P, 68, 3].

    A face is the hull of its landmarks and its forehead, with a margin of two strokes (see `stroke_width`).
    """
    edges: NDArray[np.uint8] = np.unpackbits(packed, axis=1, count=width) * np.uint8(255)
    for face in points:
        if face[:, 2].any():
            outline = np.concatenate([face[:, :2], forehead(face[:17, :2])])
            hull = cv2.convexHull(np.round(np.clip(outline, -32000, 32000)).astype(np.int32))
            cv2.fillConvexPoly(edges, hull, 0)
            cv2.polylines(edges, [hull], True, 0, 4 * stroke_width(face))
    return edges


class FrameReader:
    """The frames of a clip by index. A video that is read in order is opened only once. Threads may share a reader."""

    def __init__(self, clip: Clip) -> None:
        self._clip = clip
        self._lock = threading.Lock()
        self._following: Iterator[NDArray[np.uint8]] = iter(())
        self._index = -1
        self._frame: NDArray[np.uint8] | None = None

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        """Frame `index`, uint8 RGB [H, W, 3].

        If it is neither the last frame read nor the one after it, a video is decoded from the key frame before it.
        """
        with self._lock:
            if self._frame is None or index != self._index:
                if self._frame is None or index != self._index + 1:
                    self._following = self._clip.frames(index)
                self._frame, self._index = next(self._following), index
            return self._frame
