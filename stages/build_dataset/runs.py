"""Runs of successive frames that a dataset can use: frames of one shot, each with the same face or person."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from stages.tracking.cuts import CutDetector


def find_cuts(frames: Iterable[np.ndarray]) -> np.ndarray:
    """Whether each frame begins a new shot, bool [T]. frames: uint8 RGB [H, W, 3]."""
    is_cut = CutDetector()
    return np.array([is_cut(frame) for frame in frames])


def find_runs(usable: np.ndarray, starts: np.ndarray) -> list[tuple[int, int]]:
    """The runs (first, last + 1) of usable frames within a shot. usable: bool [T]; starts: the first frames of shots, bool [T]."""
    edges = np.flatnonzero(np.diff(np.r_[0, usable.astype(np.int8), 0]))
    runs = []
    for first, end in edges.reshape(-1, 2):
        inner_starts = first + 1 + np.flatnonzero(starts[first + 1 : end])
        bounds = [int(first), *map(int, inner_starts), int(end)]
        runs += list(zip(bounds, bounds[1:], strict=False))
    return runs
