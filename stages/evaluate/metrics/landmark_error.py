"""Whether the face follows the driving face: landmarks detected in the result against those that drove it.

The mean distance of the 68 points is given in per cent of the driving face's eye distance (between the two eye centres). Frames of a result
without a face lower its coverage, not its error: read the two together. The baseline shows how much the driving face moves; the floor is
the error of the detector on the reference itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from stages.conditions.landmarks import LEFT_EYE, RIGHT_EYE
from stages.conditions.redetection import Detect, Points, detector_factory, landmark_error, largest, missing_detector, nearest
from stages.conditions.tracks import select_main_subject
from stages.evaluate.driven import has_layer, points_at_size
from stages.evaluate.frame_source import FrameSource
from stages.evaluate.metric import EvaluationContext, Image, Metric, Scorer


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
        return [landmark_error(nearest(faces, target), target) for faces in found]


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


def driving_landmarks(driving: FrameSource, width: int, height: int, open_detector: Callable[[], Detect]) -> Iterator[Points]:
    """The landmarks [68, 3] of each frame of the driving, in pixels of a width x height frame; confidence 0 without a face.

    A clip's `landmarks` layer is taken as it is; else they are detected in the frames. Raises InputError for another shape of frame.
    """
    found = _layer(driving) if has_layer(driving, "landmarks") else _detected(driving, open_detector())
    yield from points_at_size(driving, found, width, height)


def _layer(driving: FrameSource) -> Iterator[Points]:
    assert driving.clip is not None
    yield from select_main_subject(driving.clip.layer("landmarks").arrays()["points"])[:, 0]


def _detected(driving: FrameSource, detect: Detect) -> Iterator[Points]:
    for frame in driving.frames():
        face = largest(detect(frame))
        yield np.zeros((68, 3), np.float32) if face is None else face


def _missing(context: EvaluationContext) -> str:
    return missing_detector(context.landmarks)


def _open(context: EvaluationContext) -> Scorer:
    opened = detector_factory(context.landmarks, context.device)
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
