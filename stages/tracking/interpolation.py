"""Interpolation of short gaps in point tracks, where a detector loses a wrist or a person for a moment."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from stages.tracking.smoothing import Load, Tracked

GAP_SECONDS = 0.2
"""Longer gaps are left."""


def filled(frames: Iterable[Tracked[Load]], fps: float, seconds: float = GAP_SECONDS) -> Iterator[Tracked[Load]]:
    """The frames with each point that is missing for at most `seconds` interpolated linearly between the frames around the gap.

    Both ends must show the same identity in the same slot. The confidence of a filled point is the smaller one of its ends. There is no
    lag: frames are held back until the end of a gap has been seen. seconds 0: unchanged.
    """
    reach = math.floor(seconds * fps)
    source = iter(frames)
    ahead: deque[Tracked[Load]] = deque()
    last = _Last()
    while True:
        ahead.extend(islice(source, reach + 1 - len(ahead)))
        if not ahead:
            return
        frame = ahead.popleft()
        result = _bridged(frame, last, list(ahead), reach)
        last.remember(frame)
        yield result


class _Last:
    """The last sighting of each point of each slot: position, identity and age in frames."""

    def __init__(self) -> None:
        self.points: NDArray[np.float32] = np.zeros((0, 0, 3), np.float32)
        self.identity: NDArray[np.int64] = np.zeros((0, 0), np.int64)
        self.age: NDArray[np.int64] = np.zeros((0, 0), np.int64)

    def remember(self, frame: Tracked[Load]) -> None:
        self.grow(*frame.points.shape[:2])
        self.age += 1
        slots = len(frame.points)
        seen = (frame.points[..., 2] > 0) & (frame.identity[:, None] >= 0)
        self.points[:slots][seen] = frame.points[seen]
        self.identity[:slots][seen] = np.broadcast_to(frame.identity[:, None], seen.shape)[seen]
        self.age[:slots][seen] = 1

    def grow(self, slots: int, count: int) -> None:
        """Add empty slots."""
        more = slots - len(self.points)
        if more > 0:
            self.points = np.concatenate([self.points.reshape(-1, count, 3), np.zeros((more, count, 3), np.float32)])
            self.identity = np.concatenate([self.identity.reshape(-1, count), np.full((more, count), -1)])
            self.age = np.concatenate([self.age.reshape(-1, count), np.full((more, count), 1 << 30)])


def _bridged(frame: Tracked[Load], last: _Last, ahead: list[Tracked[Load]], reach: int) -> Tracked[Load]:
    missing = frame.points[..., 2] <= 0
    last.grow(*frame.points.shape[:2])
    if reach == 0 or not missing.any():
        return frame
    points, identity = frame.points.copy(), frame.identity.copy()
    for slot, index in zip(*np.nonzero(missing), strict=True):
        age, who = int(last.age[slot, index]), int(last.identity[slot, index])
        if age > reach or who < 0 or identity[slot] not in (-1, who):
            continue
        for steps, later in enumerate(ahead[: reach + 1 - age], start=1):
            if slot < len(later.points) and later.identity[slot] == who and later.points[slot, index, 2] > 0:
                share = age / (age + steps)
                before, after = last.points[slot, index], later.points[slot, index]
                points[slot, index, :2] = (1 - share) * before[:2] + share * after[:2]
                points[slot, index, 2] = min(before[2], after[2])
                break
    found = (identity < 0) & (points[..., 2] > 0).any(1)
    identity[found] = last.identity[: len(identity)].max(1)[found]
    return Tracked(points, identity, frame.load)
