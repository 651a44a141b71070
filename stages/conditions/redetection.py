"""Faces that are detected in frames again, and how far their landmarks are from those that they should follow."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from stages.backends import Backends
from stages.conditions.landmarks import LANDMARKS, eye_distance

Points = NDArray[np.float32]
Detect = Callable[[NDArray[np.uint8]], list[Points]]
"""frame -> the landmarks [68, 3] of each face in it."""

PREFERRED = ("mediapipe", "dlib", "face-alignment")


def choose_detector(name: str = "auto") -> str:
    """The landmark detector of this name; for auto the first that can run."""
    if name != "auto":
        return name
    backends = Backends("landmarks")
    ready = (each for each in PREFERRED if each in backends.names() and backends.get(each).available)
    return next(ready, PREFERRED[0])


def missing_detector(name: str = "auto") -> str:
    """Why the chosen detector cannot run, as a sentence; "" if it can."""
    return Backends("landmarks").get(choose_detector(name)).missing()


def opener(name: str, device: str) -> Callable[[], Detect]:
    """A function that opens the chosen detector; each opened one tracks by itself. Raises MissingRequirement when it cannot run."""
    backend = Backends("landmarks").require(choose_detector(name))

    def opened() -> Detect:
        detector = backend.open(device)
        return lambda frame: [face.points[:LANDMARKS] for face in detector(frame)]

    return opened


def error(points: Points | None, target: Points) -> float | None:
    """Mean distance of the landmarks [68, 3] that the target has, in per cent of its eye distance; None without a face."""
    if points is None:
        return None
    visible = target[:, 2] > 0
    apart = np.linalg.norm(points[visible, :2] - target[visible, :2], axis=-1).mean()
    return float(100 * apart / max(float(eye_distance(target)), 1.0))


def largest(faces: Sequence[Points]) -> Points | None:
    return max(faces, key=lambda points: float(np.ptp(points[:, :2], axis=0).prod()), default=None)


def nearest(faces: Sequence[Points], target: Points) -> Points | None:
    """The face whose landmarks lie nearest to those that the target has."""
    visible = target[:, 2] > 0
    centre = target[visible, :2].mean(0)
    return min(faces, key=lambda points: float(np.linalg.norm(points[visible, :2].mean(0) - centre)), default=None)
