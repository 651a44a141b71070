"""Where the driving subject goes beyond what the examples show: turns of the head or body, and steps to the side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_SHIFT = 1.0
"""Distance from the nearest example's place, in widths of its face or heights of its person."""
MAX_SPANS = 5

Keypoints = NDArray[np.float32]


@dataclass(frozen=True)
class Pose:
    """What is compared of a frame."""

    turns: Mapping[str, float]
    """What of it turns: the angle, in units of its limit."""
    centre: NDArray[np.float64]
    """x, y in pixels."""
    size: float
    """Pixels."""


class Reach:
    """Compares driving frames with the examples.

    pose_of: of the kind (`Kind.pose`); None: it has no pose, and nothing is beyond the examples. examples: keypoints [N, 3] of each example
    in the model's pixels, as `Track.keypoints` has them.
    """

    def __init__(self, pose_of: Callable[[Keypoints], Pose] | None, examples: Sequence[Keypoints]) -> None:
        self._pose_of = pose_of
        self._shown = [pose_of(points) for points in examples] if pose_of else []

    def beyond(self, keypoints: Keypoints) -> list[str]:
        """In which respects of `WHAT` the frame with these keypoints is beyond every example."""
        if self._pose_of is None or not self._shown:
            return []
        pose = self._pose_of(keypoints)
        far = {what: min(abs(turn - shown.turns[what]) for shown in self._shown) for what, turn in pose.turns.items()}
        far["moved"] = min(float(np.linalg.norm(pose.centre - shown.centre)) / shown.size for shown in self._shown) / MAX_SHIFT
        return [what for what, distance in far.items() if distance > 1]


WHAT = {
    "turned": "is turned to the side further than in any example",
    "tilted": "looks up or down further than in any example",
    "moved": "is far from its place in the examples",
}


def warnings(beyond: Mapping[str, Sequence[int]], total: int) -> list[str]:
    """One sentence for each respect of `WHAT`; `beyond` names the frames, of `total`."""
    return [
        f"the driving subject {WHAT[what]} in {len(frames)} of {total} frames ({spans(frames)}): "
        "these are likely to look wrong; add an example that shows the subject that way"
        for what, frames in sorted(beyond.items())
    ]


def spans(numbers: Sequence[int]) -> str:
    """Ascending frame numbers as text, such as "3-9, 12, 40-44"; of many spans the first `MAX_SPANS`."""
    parts = np.split(np.asarray(numbers), np.flatnonzero(np.diff(numbers) > 1) + 1)
    texts = [str(part[0]) if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts]
    return ", ".join(texts[:MAX_SPANS] + ["..."] * (len(texts) > MAX_SPANS))
