"""Shots: a clip is split where the picture changes at once, and where the driver is missing."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np

UNLIKE = 0.35
"""Correlation of the colours of two neighbouring frames below which they belong to different shots."""
JUMP = 0.6
"""Distance that a face moves between two frames of one shot at most, in sizes of the face."""


def signatures(frames: Iterable[np.ndarray]) -> np.ndarray:
    """Small colour pictures of all frames, float32 [T, 3 * 9 * 16], of mean 0 and length 1, for `cuts_between`."""
    small = [cv2.resize(frame, (16, 9), interpolation=cv2.INTER_AREA).astype(np.float32).ravel() for frame in frames]
    rows = np.stack(small)
    rows -= rows.mean(1, keepdims=True)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)


def cuts_between(signature: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Whether a new shot begins at each frame, bool [T]. signature: of `signatures`; points: the followed face [T, 68, 3]."""
    unlike = np.r_[False, (signature[1:] * signature[:-1]).sum(1) < UNLIKE]
    seen = points[..., 2].any(1)
    centre = points[..., :2].mean(1)
    size = np.ptp(points[..., :2], axis=1).max(-1)
    moved = np.r_[0, np.linalg.norm(np.diff(centre, axis=0), axis=-1)]
    jumped = np.r_[False, seen[1:] & seen[:-1]] & (moved > JUMP * np.maximum(size, 1))
    return unlike | jumped


def runs_of(usable: np.ndarray, starts: np.ndarray) -> list[tuple[int, int]]:
    """Stretches [first, last + 1) of usable frames that no start of a shot divides. usable, starts: bool [T]."""
    runs: list[tuple[int, int]] = []
    begin = None
    for index, (use, start) in enumerate(zip([*usable, False], [*starts, False], strict=True)):
        if begin is not None and (not use or start):
            runs.append((begin, index))
            begin = None
        if use and begin is None:
            begin = index
    return runs
