"""The people of a clip as arrays: who is who from frame to frame, and the boxes around them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from stages.tables.skeletons import SIZES, Points, boxes_of

_NOBODY = -1


@dataclass(frozen=True)
class Person:
    """One person in one frame. `parts`: name of the layer's array -> points [n, 3]; `number`: the same in all frames, -1 if unknown."""

    parts: Mapping[str, Points]
    number: int = _NOBODY


def arrays_of(frames: Sequence[Sequence[Person]]) -> dict[str, np.ndarray]:
    """The arrays of a `poses` layer: keypoints [T, P, 25, 3], boxes [T, P, 4] and track_id [T, P]; also face [T, P, 70, 3], hand_left and
    hand_right [T, P, 21, 3], if any person has them.

    A person keeps column and track_id from frame to frame: by number where everybody has one, else the nearest by mean distance
    of the shared points. A column without a person has confidence 0 and track_id -1.
    """
    numbers = _numbers(frames)
    columns = _numbered(frames, numbers) if numbers else _followed(frames)
    width = max(1, len(numbers), max((column + 1 for frame in columns for column in frame), default=1))
    arrays = {name: np.zeros((len(frames), width, count, 3), np.float32) for name, count in SIZES.items()}
    arrays["track_id"] = np.full((len(frames), width), _NOBODY, np.int32)
    for index, frame in enumerate(columns):
        for column, person in frame.items():
            arrays["track_id"][index, column] = numbers[column] if numbers else column
            for name, points in person.parts.items():
                arrays[name][index, column] = points
    arrays["boxes"] = boxes_of(arrays["keypoints"])
    return {name: array for name, array in arrays.items() if name in ("keypoints", "boxes", "track_id") or array.any()}


def _numbers(frames: Sequence[Sequence[Person]]) -> list[int]:
    """Everybody's number in ascending order; empty when somebody has none or two share one in a frame."""
    known = [[person.number for person in frame] for frame in frames]
    if any(min(frame, default=0) < 0 or len(set(frame)) < len(frame) for frame in known):
        return []
    return sorted({number for frame in known for number in frame})


def _numbered(frames: Sequence[Sequence[Person]], numbers: Sequence[int]) -> list[dict[int, Person]]:
    column = {number: index for index, number in enumerate(numbers)}
    return [{column[person.number]: person for person in frame} for frame in frames]


def _followed(frames: Sequence[Sequence[Person]]) -> list[dict[int, Person]]:
    """Give each person a column: that of the nearest person of an earlier frame, else a new one."""
    last: dict[int, np.ndarray] = {}
    followed = []
    for people in frames:
        pairs = sorted(
            (distance, column, number)
            for column, before in last.items()
            for number, person in enumerate(people)
            if (distance := _distance(before, person.parts["keypoints"])) < 1.0
        )
        columns: dict[int, int] = {}
        for _, column, number in pairs:
            if number not in columns and column not in columns.values():
                columns[number] = column
        for number in range(len(people)):
            columns.setdefault(number, next(free for free in range(10**6) if free not in last and free not in columns.values()))
        followed.append({columns[number]: person for number, person in enumerate(people)})
        last.update({columns[number]: person.parts["keypoints"] for number, person in enumerate(people)})
    return followed


def _distance(before: np.ndarray, now: np.ndarray) -> float:
    """Mean distance of the points seen in both, in heights of the person; infinite when none is."""
    shared = (before[:, 2] > 0) & (now[:, 2] > 0)
    if not shared.any():
        return float("inf")
    height = max(float(np.ptp(before[before[:, 2] > 0, 1])), float(np.ptp(now[now[:, 2] > 0, 1])), 1.0)
    return float(np.linalg.norm(before[shared, :2] - now[shared, :2], axis=1).mean()) / height
