"""Stretches of a clip that a dataset can use: one shot, the same face in every frame."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from stages.conditions.crop import JUMP_IN_FACES
from stages.cuts import CutDetector


def shot_starts(frames: Iterable[np.ndarray], points: np.ndarray) -> np.ndarray:
    """Whether a new shot begins at each frame, bool [T]: the picture changes at once, or the followed face [T, 68, 3] leaps."""
    is_cut = CutDetector()
    cut = np.array([is_cut(frame) for frame in frames])
    seen = points[..., 2].max(1) > 0
    size = np.ptp(points[..., :2], axis=1).max(-1)
    moved = np.linalg.norm(np.diff(points[..., :2].mean(1), axis=0), axis=-1)
    leapt = seen[1:] & seen[:-1] & (moved > JUMP_IN_FACES * np.maximum(size[1:], 1))
    return cut | np.r_[False, leapt]


def runs_of(usable: np.ndarray, starts: np.ndarray) -> list[tuple[int, int]]:
    """Stretches [first, last + 1) of usable frames that no start of a shot divides. usable, starts: bool [T]."""
    edges = np.flatnonzero(np.diff(np.r_[0, usable.astype(np.int8), 0]))
    runs = []
    for first, end in edges.reshape(-1, 2):
        inner = first + 1 + np.flatnonzero(starts[first + 1 : end])
        bounds = [int(first), *map(int, inner), int(end)]
        runs += list(zip(bounds, bounds[1:], strict=False))
    return runs
