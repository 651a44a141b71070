"""Finds driving frames whose subject is turned further, or placed elsewhere, than in all examples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_SHIFT = 1.0
"""Largest distance of the subject from its position in the nearest example, in sizes of the subject."""
MAX_SPANS = 5

Keypoints = NDArray[np.float32]


@dataclass(frozen=True)
class Pose:
    """Orientation, position and size of the subject of a frame."""

    turns: Mapping[str, float]
    """Key of `DEVIATIONS` -> angle, divided by the largest angle that may lie between a frame and the nearest example."""
    centre: NDArray[np.float64]
    """x, y in pixels."""
    size: float
    """Width of the face or height of the person, in pixels."""


class Reach:
    """Compares driving frames with the examples.

    pose_of: `Kind.pose`; if it is None, no frame is beyond the examples. examples: keypoints [N, 3] of each example in pixels of the
    model's images, as from `Track.keypoints`.
    """

    def __init__(self, pose_of: Callable[[Keypoints], Pose] | None, examples: Sequence[Keypoints]) -> None:
        self._pose_of = pose_of
        self._examples = [pose_of(points) for points in examples] if pose_of else []

    def beyond(self, keypoints: Keypoints) -> list[str]:
        """The keys of `DEVIATIONS` in which the frame with these keypoints is too far from every example."""
        if self._pose_of is None or not self._examples:
            return []
        pose = self._pose_of(keypoints)
        distances = {key: min(abs(turn - example.turns[key]) for example in self._examples) for key, turn in pose.turns.items()}
        shifts = [float(np.linalg.norm(pose.centre - example.centre)) / example.size for example in self._examples]
        distances["moved"] = min(shifts) / MAX_SHIFT
        return [key for key, distance in distances.items() if distance > 1]


DEVIATIONS = {
    "turned": "is turned to the side further than in any example",
    "tilted": "looks up or down further than in any example",
    "moved": "is far from its place in the examples",
}
"""How the subject of a driving frame can differ from all examples: key -> the predicate of a sentence."""


def warnings(beyond: Mapping[str, Sequence[int]], total: int) -> list[str]:
    """One sentence for each item of `beyond`, key of `DEVIATIONS` -> frame numbers. total: the number of driving frames."""
    return [
        f"the driving subject {DEVIATIONS[key]} in {len(frames)} of {total} frames ({spans(frames)}): "
        "these are likely to look wrong; add an example that shows the subject that way"
        for key, frames in sorted(beyond.items())
    ]


def spans(numbers: Sequence[int]) -> str:
    """Ascending frame numbers as text, such as "3-9, 12, 40-44". After `MAX_SPANS` spans it ends with "..."."""
    parts = np.split(np.asarray(numbers), np.flatnonzero(np.diff(numbers) > 1) + 1)
    texts = [str(part[0]) if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts]
    return ", ".join(texts[:MAX_SPANS] + ["..."] * (len(texts) > MAX_SPANS))
