"""Whether the body follows the driving body: keypoints detected in the result against the driving ones.

The figure is the mean distance of the keypoints in per cent of the driving person's height. Only keypoints with a sufficient confidence in
both the driving layer and the result count. A frame in which fewer than half of the driving keypoints are found does not change the
error, but lowers the coverage. The detector is the backend that made the driving layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from stages.backends import AUTO, Backend, Backends
from stages.clip import Layer
from stages.conditions.poses import NAMES, person_height
from stages.conditions.tracks import select_main_subject
from stages.errors import InvalidClip, MissingRequirement, UsageError
from stages.evaluate.driven import layer_of_driving, points_at_size
from stages.evaluate.metric import EvaluationContext, Image, Metric, Scorer
from stages.tracking.tracker import Detector

Points = NDArray[np.float32]
Detect = Callable[[Image], list[Points]]
"""frame -> the keypoints [25, 3] of each person in it."""

MIN_CONFIDENCE = 0.3
"""Keypoints above this confidence count."""
MIN_FOUND = 0.5
"""A frame is measured if at least this share of the driving keypoints is found."""


class PoseError:
    """Compares the keypoints of candidates with the driving ones, in pixels, or, if `relative`, in per cent of the driving person's height.

    Each candidate has its own detector, because a detector may track from frame to frame.
    """

    def __init__(self, targets: Iterator[Points], open_detector: Callable[[], Detect], *, relative: bool) -> None:
        self._targets, self._open_detector, self._relative = targets, open_detector, relative
        self._detectors: list[Detect] = []

    def __call__(self, reference: Image, candidates: Sequence[Image]) -> list[float | None] | None:
        while len(self._detectors) < len(candidates):
            self._detectors.append(self._open_detector())
        target = next(self._targets)
        if not (target[:, 2] > MIN_CONFIDENCE).any():
            return None
        unit = person_height(target) / 100 if self._relative else 1.0
        if not unit:
            return None
        errors = [error(nearest(detect(frame), target), target) for detect, frame in zip(self._detectors, candidates, strict=True)]
        return [None if pixels is None else pixels / unit for pixels in errors]


def error(points: Points | None, target: Points) -> float | None:
    """Mean distance in pixels of the keypoints [25, 3] that count in both; None if fewer than half of those of the target are found."""
    if points is None:
        return None
    in_target, in_both = target[:, 2] > MIN_CONFIDENCE, np.minimum(points[:, 2], target[:, 2]) > MIN_CONFIDENCE
    if in_both.sum() < MIN_FOUND * in_target.sum():
        return None
    return float(np.linalg.norm(points[in_both, :2] - target[in_both, :2], axis=-1).mean())


def nearest(people: Sequence[Points], target: Points) -> Points | None:
    """The person whose keypoints lie nearest to those of the driving."""
    errors = [(distance, person) for person in people if (distance := error(person, target)) is not None]
    return min(errors, key=lambda pair: pair[0])[1] if errors else None


def open_pose_error(context: EvaluationContext, *, relative: bool) -> Scorer:
    """The scorer; relative: see PoseError."""
    driving, layer = layer_of_driving(context, "poses")
    backend = Backends("poses").require(_backend_of(layer).name)

    def open_detector() -> Detect:
        detector = backend.open(context.device)
        return lambda frame: [person.points[: len(NAMES)] for person in detector(frame)]

    people = select_main_subject(layer.arrays()["keypoints"])[:, 0]
    if people.shape[1] != len(NAMES):
        raise InvalidClip(f"{driving.path} has bodies of {people.shape[1]} keypoints, not BODY_25", code="poses-to-import")
    return PoseError(points_at_size(driving, people, context.width, context.height), open_detector, relative=relative)


def missing(context: EvaluationContext) -> str:
    """See `missing` of a Metric."""
    try:
        return _backend_of(layer_of_driving(context, "poses")[1]).missing()
    except (UsageError, MissingRequirement) as problem:
        return str(problem)


def _backend_of(layer: Layer) -> Backend[Detector]:
    """The backend that made the driving layer. If there is no backend of that name, the first that can run."""
    backends, maker = Backends("poses"), layer.meta["producer"]["backend"]
    if maker in backends.names():
        return backends.get(maker)
    candidates = [backends.get(name) for name in AUTO["poses"]]
    return next((backend for backend in candidates if backend.available), candidates[0])


IN_HEIGHTS = Metric(
    name="pose-error",
    summary="keypoints found in the result against the driving keypoints",
    unit="% of the person's height",
    better="lower",
    open=lambda context: open_pose_error(context, relative=True),
    missing=missing,
    layer="poses",
    min_side=16,
    floor=True,
)
IN_PIXELS = replace(
    IN_HEIGHTS,
    name="pose-error-pixels",
    summary="the same in pixels",
    unit="pixels",
    open=lambda context: open_pose_error(context, relative=False),
)
METRICS = (IN_HEIGHTS, IN_PIXELS)
