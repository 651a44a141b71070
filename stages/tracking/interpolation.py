"""Interpolation of short gaps in point tracks, where a detector loses a wrist or a person for a moment."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from stages.tracking.smoothing import Payload, TrackedFrame

GAP_SECONDS = 0.2
"""Longer gaps are not filled."""


def fill_gaps(frames: Iterable[TrackedFrame[Payload]], fps: float, seconds: float = GAP_SECONDS) -> Iterator[TrackedFrame[Payload]]:
    """Interpolate each point that is missing for at most `seconds` linearly between the frames around the gap; yields the frames.

    The same identity must be in the same slot before and after the gap. The confidence of a filled point is the smaller of the two.
    Frames are delayed until the end of a gap is known. seconds 0: unchanged.
    """
    max_gap = math.floor(seconds * fps)
    source = iter(frames)
    buffer: deque[TrackedFrame[Payload]] = deque()
    last_seen = _LastSeen()
    while True:
        buffer.extend(islice(source, max_gap + 1 - len(buffer)))
        if not buffer:
            return
        frame = buffer.popleft()
        filled_frame = _fill_missing(frame, last_seen, list(buffer), max_gap)
        last_seen.remember(frame)
        yield filled_frame


class _LastSeen:
    """The last detection of each point in each slot: position, identity, and age in frames."""

    def __init__(self) -> None:
        self.points: NDArray[np.float32] = np.zeros((0, 0, 3), np.float32)
        self.identity: NDArray[np.int64] = np.zeros((0, 0), np.int64)
        self.age: NDArray[np.int64] = np.zeros((0, 0), np.int64)

    def remember(self, frame: TrackedFrame[Payload]) -> None:
        self.grow(*frame.points.shape[:2])
        self.age += 1
        slots = len(frame.points)
        seen = (frame.points[..., 2] > 0) & (frame.identity[:, None] >= 0)
        self.points[:slots][seen] = frame.points[seen]
        self.identity[:slots][seen] = np.broadcast_to(frame.identity[:, None], seen.shape)[seen]
        self.age[:slots][seen] = 1

    def grow(self, slots: int, num_points: int) -> None:
        """Add empty slots, up to `slots` in total."""
        num_new = slots - len(self.points)
        if num_new > 0:
            self.points = np.concatenate([self.points.reshape(-1, num_points, 3), np.zeros((num_new, num_points, 3), np.float32)])
            self.identity = np.concatenate([self.identity.reshape(-1, num_points), np.full((num_new, num_points), -1)])
            self.age = np.concatenate([self.age.reshape(-1, num_points), np.full((num_new, num_points), 1 << 30)])


def _fill_missing(
    frame: TrackedFrame[Payload], last_seen: _LastSeen, later_frames: list[TrackedFrame[Payload]], max_gap: int
) -> TrackedFrame[Payload]:
    missing = frame.points[..., 2] <= 0
    last_seen.grow(*frame.points.shape[:2])
    if max_gap == 0 or not missing.any():
        return frame
    points, identity = frame.points.copy(), frame.identity.copy()
    for slot, index in zip(*np.nonzero(missing), strict=True):
        age, last_identity = int(last_seen.age[slot, index]), int(last_seen.identity[slot, index])
        if age > max_gap or last_identity < 0 or identity[slot] not in (-1, last_identity):
            continue
        for steps, later in enumerate(later_frames[: max_gap + 1 - age], start=1):
            if slot < len(later.points) and later.identity[slot] == last_identity and later.points[slot, index, 2] > 0:
                fraction = age / (age + steps)
                before, after = last_seen.points[slot, index], later.points[slot, index]
                points[slot, index, :2] = (1 - fraction) * before[:2] + fraction * after[:2]
                points[slot, index, 2] = min(before[2], after[2])
                break
    newly_seen = (identity < 0) & (points[..., 2] > 0).any(1)
    identity[newly_seen] = last_seen.identity[: len(identity)].max(1)[newly_seen]
    return TrackedFrame(points, identity, frame.payload)
