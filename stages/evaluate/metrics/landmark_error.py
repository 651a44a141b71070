"""Whether the face follows the driving face: landmarks detected in the result against those that drove it.

The mean distance of the 68 points is given in per cent of the driving face's eye distance (between the two eye centres). Frames of a result
without a face lower its coverage, not its error: read the two together. The baseline shows how much the driving face moves; the floor is
the error of the detector on the reference itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from stages.backends import Backends
from stages.conditions.landmarks import LANDMARKS, LEFT_EYE, RIGHT_EYE, eye_distance
from stages.conditions.tracks import only_main
from stages.evaluate.driven import has_layer, points_at_size
from stages.evaluate.frame_source import FrameSource
from stages.evaluate.metric import EvaluationContext, Image, Metric, Scorer

Points = NDArray[np.float32]
Detect = Callable[[Image], list[Points]]
"""frame -> the landmarks [68, 3] of each face in it."""

PREFERRED = ("mediapipe", "dlib", "face-alignment")


class LandmarkError:
    """Each candidate gets its own detector, because a detector may track from frame to frame."""

    def __init__(self, targets: Iterator[Points] | None, open_detector: Callable[[], Detect]) -> None:
        self._targets = targets
        self._open_detector = open_detector
        self._reference = _Tracked(open_detector())
        self._candidates: list[_Tracked] = []

    def __call__(self, reference: Image, candidates: Sequence[Image]) -> list[float | None] | None:
        while len(self._candidates) < len(candidates):
            self._candidates.append(_Tracked(self._open_detector()))
        target = next(self._targets) if self._targets else largest(self._reference.faces(reference))
        if target is None or not (target[RIGHT_EYE, 2].all() and target[LEFT_EYE, 2].all()):
            return None
        found = [
            self._reference.faces(frame) if frame is reference else tracked.faces(frame)
            for tracked, frame in zip(self._candidates, candidates, strict=True)
        ]
        return [error(nearest(faces, target), target) for faces in found]


class _Tracked:
    """A detector that runs once on the same array."""

    def __init__(self, detect: Detect) -> None:
        self._detect = detect
        self._frame: Image | None = None
        self._faces: list[Points] = []

    def faces(self, frame: Image) -> list[Points]:
        if frame is not self._frame:
            self._frame, self._faces = frame, self._detect(frame)
        return self._faces


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
    visible = target[:, 2] > 0
    centre = target[visible, :2].mean(0)
    return min(faces, key=lambda points: float(np.linalg.norm(points[visible, :2].mean(0) - centre)), default=None)


def driving_landmarks(driving: FrameSource, width: int, height: int, open_detector: Callable[[], Detect]) -> Iterator[Points]:
    """The landmarks [68, 3] of each frame of the driving, in pixels of a width x height frame; confidence 0 without a face.

    A clip's `landmarks` layer is taken as it is; else they are detected in the frames. Raises InputError for another shape of frame.
    """
    found = _layer(driving) if has_layer(driving, "landmarks") else _detected(driving, open_detector())
    yield from points_at_size(driving, found, width, height)


def _layer(driving: FrameSource) -> Iterator[Points]:
    assert driving.clip is not None
    yield from only_main(driving.clip.layer("landmarks").arrays()["points"])[:, 0]


def _detected(driving: FrameSource, detect: Detect) -> Iterator[Points]:
    for frame in driving.frames():
        face = largest(detect(frame))
        yield np.zeros((68, 3), np.float32) if face is None else face


def choose_detector(context: EvaluationContext) -> str:
    """The landmark detector of the options, else the first that can run."""
    if context.landmarks != "auto":
        return context.landmarks
    backends = Backends("landmarks")
    ready = (name for name in PREFERRED if name in backends.names() and backends.get(name).available)
    return next(ready, PREFERRED[0])


def opener(context: EvaluationContext) -> Callable[[], Detect]:
    """A function that opens the chosen detector; each opened one tracks by itself. Raises MissingRequirement when it cannot run."""
    backend = Backends("landmarks").require(choose_detector(context))

    def opened() -> Detect:
        detector = backend.open(context.device)
        return lambda frame: [face.points[:LANDMARKS] for face in detector(frame)]

    return opened


def _missing(context: EvaluationContext) -> str:
    return Backends("landmarks").get(choose_detector(context)).missing()


def _open(context: EvaluationContext) -> Scorer:
    opened = opener(context)
    return LandmarkError(_targets(context, opened), opened)


def _targets(context: EvaluationContext, open_detector: Callable[[], Detect]) -> Iterator[Points] | None:
    """The driving's landmarks; None for the reference's, also where a result keeps a driving without landmarks."""
    if context.driving is None or (context.kept and not has_layer(context.driving, "landmarks")):
        return None
    return driving_landmarks(context.driving, context.width, context.height, open_detector)


METRIC = Metric(
    name="landmark-error",
    summary="landmarks found in the result against those that drove it",
    unit="% of eye distance",
    better="lower",
    open=_open,
    missing=_missing,
    min_side=16,
    floor=True,
)
