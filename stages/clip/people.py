"""The people of a clip as arrays: the assignment of people to columns over time, and boxes around them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from stages.tables.skeletons import POINT_COUNTS, Points, boxes_of

_UNKNOWN = -1


@dataclass(frozen=True)
class Person:
    """One person in one frame. parts: array of the layer -> points [n, 3]. number: the same for the person in all frames, -1 if unknown."""

    parts: Mapping[str, Points]
    number: int = _UNKNOWN


def arrays_of(frames: Sequence[Sequence[Person]]) -> dict[str, np.ndarray]:
    """The arrays of a `poses` layer: keypoints [T, P, 25, 3], boxes [T, P, 4] and track_id [T, P]; also face [T, P, 70, 3], hand_left and
    hand_right [T, P, 21, 3], if any person has them.

    A person keeps column and track_id over time. People are assigned by their numbers if all have one, else by the mean distance of their
    points from those in earlier frames. A column without a person has confidence 0 and track_id -1.
    """
    numbers = _person_numbers(frames)
    people_by_column = _columns_by_number(frames, numbers) if numbers else _columns_by_distance(frames)
    num_columns = max(1, len(numbers), max((column + 1 for frame in people_by_column for column in frame), default=1))
    arrays = {name: np.zeros((len(frames), num_columns, count, 3), np.float32) for name, count in POINT_COUNTS.items()}
    arrays["track_id"] = np.full((len(frames), num_columns), _UNKNOWN, np.int32)
    for index, frame in enumerate(people_by_column):
        for column, person in frame.items():
            arrays["track_id"][index, column] = numbers[column] if numbers else column
            for name, points in person.parts.items():
                arrays[name][index, column] = points
    arrays["boxes"] = boxes_of(arrays["keypoints"])
    return {name: array for name, array in arrays.items() if name in ("keypoints", "boxes", "track_id") or array.any()}


def _person_numbers(frames: Sequence[Sequence[Person]]) -> list[int]:
    """The numbers of all people in ascending order; empty if someone has none, or if two people in a frame have the same."""
    numbers = [[person.number for person in frame] for frame in frames]
    if any(min(frame, default=0) < 0 or len(set(frame)) < len(frame) for frame in numbers):
        return []
    return sorted({number for frame in numbers for number in frame})


def _columns_by_number(frames: Sequence[Sequence[Person]], numbers: Sequence[int]) -> list[dict[int, Person]]:
    column_of = {number: index for index, number in enumerate(numbers)}
    return [{column_of[person.number]: person for person in frame} for frame in frames]


def _columns_by_distance(frames: Sequence[Sequence[Person]]) -> list[dict[int, Person]]:
    """column -> person for each frame. A person gets the column of the nearest person of an earlier frame, else a new one."""
    last_seen: dict[int, np.ndarray] = {}
    people_by_column = []
    for people in frames:
        pairs = sorted(
            (distance, column, index)
            for column, last_points in last_seen.items()
            for index, person in enumerate(people)
            if (distance := _distance(last_points, person.parts["keypoints"])) < 1.0
        )
        column_of: dict[int, int] = {}
        for _, column, index in pairs:
            if index not in column_of and column not in column_of.values():
                column_of[index] = column
        for index in range(len(people)):
            column_of.setdefault(index, next(free for free in range(10**6) if free not in last_seen and free not in column_of.values()))
        people_by_column.append({column_of[index]: person for index, person in enumerate(people)})
        last_seen.update({column_of[index]: person.parts["keypoints"] for index, person in enumerate(people)})
    return people_by_column


def _distance(earlier: np.ndarray, later: np.ndarray) -> float:
    """Mean distance of the points that both have, in units of the person's height; infinite without common points."""
    shared = (earlier[:, 2] > 0) & (later[:, 2] > 0)
    if not shared.any():
        return float("inf")
    height = max(float(np.ptp(earlier[earlier[:, 2] > 0, 1])), float(np.ptp(later[later[:, 2] > 0, 1])), 1.0)
    return float(np.linalg.norm(earlier[shared, :2] - later[shared, :2], axis=1).mean()) / height
