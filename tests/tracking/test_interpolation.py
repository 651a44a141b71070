"""Short gaps in tracks are filled by interpolation."""

from __future__ import annotations

import numpy as np
import pytest

from stages.tracking.interpolation import fill_gaps
from stages.tracking.smoothing import TrackedFrame


def track(xs: list[float | None], identity: list[int] | None = None) -> list[TrackedFrame[None]]:
    """Frames of a track with one point at these x; None where it is missing."""
    frames = []
    for index, x in enumerate(xs):
        point = np.zeros((1, 1, 3), np.float32) if x is None else np.array([[[x, 50, 0.8]]], np.float32)
        track_id = identity[index] if identity else (-1 if x is None else 7)
        frames.append(TrackedFrame(point, np.array([track_id]), None))
    return frames


def filled_xs(frames: list[TrackedFrame[None]], fps: float = 10) -> list[float | None]:
    """x of the point in each frame after filling gaps of up to 0.2 seconds."""
    return [float(frame.points[0, 0, 0]) if frame.points[0, 0, 2] > 0 else None for frame in fill_gaps(frames, fps, 0.2)]


def test_a_short_gap_is_filled_linearly() -> None:
    assert filled_xs(track([10, None, None, 40, 50])) == pytest.approx([10, 20, 30, 40, 50])
    frames = list(fill_gaps(track([10, None, 30]), 10, 0.2))
    assert frames[1].identity[0] == 7 and frames[1].points[0, 0, 2] == pytest.approx(0.8)


def test_a_long_gap_and_open_ends_stay_empty() -> None:
    assert filled_xs(track([10, None, None, None, 50])) == [10, None, None, None, 50]
    assert filled_xs(track([None, 20, None])) == [None, 20, None]


def test_gaps_between_different_identities_are_not_filled() -> None:
    assert filled_xs(track([10, None, 30], identity=[7, -1, 8])) == [10, None, 30]


def test_a_single_missing_point_of_a_person_is_filled() -> None:
    frames = [TrackedFrame(np.array([[[x, 0, 1], [x, 9, c]]], np.float32), np.array([3]), None) for x, c in ((0, 1), (1, 0), (2, 1))]
    frames[1].points[0, 1] = 0
    middle = list(fill_gaps(frames, 10, 0.2))[1]
    assert middle.points[0].tolist() == [[1, 0, 1], [1, 9, 1]]


def test_the_number_of_people_can_grow() -> None:
    alone, both = np.array([[[1, 0, 1]]], np.float32), np.array([[[1, 0, 1]], [[9, 0, 1]]], np.float32)
    frames = [
        TrackedFrame(alone, np.array([0]), None),
        TrackedFrame(both, np.array([0, 1]), None),
        TrackedFrame(both, np.array([0, 1]), None),
    ]
    assert [len(frame.points) for frame in fill_gaps(frames, 10)] == [1, 2, 2]


def test_zero_seconds_change_nothing() -> None:
    frames = track([10, None, 30])
    assert [frame.points[0, 0, 2] for frame in fill_gaps(frames, 10, 0)] == [frame.points[0, 0, 2] for frame in frames]
