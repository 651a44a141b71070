"""Detects faces in results, and measures how far their landmarks are from those that drove the result."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from stages.backends import Backends
from stages.conditions.landmarks import LANDMARKS, eye_distance

Points = NDArray[np.float32]
Detect = Callable[[NDArray[np.uint8]], list[Points]]
"""Frame -> landmarks [68, 3] of each face."""

PREFERRED = ("mediapipe", "dlib", "face-alignment")


def choose_detector(name: str = "auto") -> str:
    """`name`, or for "auto" the first detector of `PREFERRED` that can run here; if none can run, the first of them."""
    if name != "auto":
        return name
    backends = Backends("landmarks")
    available = (detector for detector in PREFERRED if detector in backends.names() and backends.get(detector).available)
    return next(available, PREFERRED[0])


def missing_detector(name: str = "auto") -> str:
    """Why the detector that `choose_detector` returns cannot run, as a sentence; "" if it can."""
    return Backends("landmarks").get(choose_detector(name)).missing()


def detector_factory(name: str, device: str) -> Callable[[], Detect]:
    """A function that opens the detector `choose_detector(name)`. Raises MissingRequirement when it cannot run.

    Detectors track from frame to frame, so that each video needs one of its own.
    """
    backend = Backends("landmarks").require(choose_detector(name))

    def open_detector() -> Detect:
        detector = backend.open(device)
        return lambda frame: [face.points[:LANDMARKS] for face in detector(frame)]

    return open_detector


def landmark_error(points: Points | None, target: Points) -> float | None:
    """Mean distance between landmarks [68, 3], in per cent of the target's eye distance; None if `points` is None.

    Only landmarks with confidence in the target count.
    """
    if points is None:
        return None
    visible = target[:, 2] > 0
    distance = np.linalg.norm(points[visible, :2] - target[visible, :2], axis=-1).mean()
    return float(100 * distance / max(float(eye_distance(target)), 1.0))


def largest(faces: Sequence[Points]) -> Points | None:
    """The face with the largest box of landmarks; None without faces."""
    return max(faces, key=lambda points: float(np.ptp(points[:, :2], axis=0).prod()), default=None)


def nearest(faces: Sequence[Points], target: Points) -> Points | None:
    """The face whose mean position is nearest to the target's; None without faces. Only landmarks with confidence in the target count."""
    visible = target[:, 2] > 0
    centre = target[visible, :2].mean(0)
    return min(faces, key=lambda points: float(np.linalg.norm(points[visible, :2].mean(0) - centre)), default=None)
