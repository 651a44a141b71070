"""Whether the face follows the driving face: landmarks detected in the result against the driving ones.

The figure is the mean distance of the 68 points in per cent of the distance between the driving face's eye centres. Frames of a result
without a face do not change its error, but lower its coverage. The baseline shows how much the driving face moves; the floor is the error
of the detector on the reference itself.
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
    """Compares the landmarks of candidates with the driving landmarks.

    Each candidate has its own detector, because a detector may track from frame to frame.
    """

    def __init__(self, targets: Iterator[Points] | None, open_detector: Callable[[], Detect]) -> None:
        self._targets = targets
        self._open_detector = open_detector
        self._reference_detector = _CachedDetector(open_detector())
        self._candidates: list[_CachedDetector] = []

    def __call__(self, reference: Image, candidates: Sequence[Image]) -> list[float | None] | None:
        while len(self._candidates) < len(candidates):
            self._candidates.append(_CachedDetector(self._open_detector()))
        target = next(self._targets) if self._targets else largest(self._reference_detector.faces(reference))
        if target is None or not (target[RIGHT_EYE, 2].all() and target[LEFT_EYE, 2].all()):
            return None
        detected = [
            self._reference_detector.faces(frame) if frame is reference else detector.faces(frame)
            for detector, frame in zip(self._candidates, candidates, strict=True)
        ]
        return [landmark_error(nearest(faces, target), target) for faces in detected]


class _CachedDetector:
    """A detector that remembers the faces of the last frame."""

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

    They are read from the layer `landmarks` of a clip, else detected in the frames. Raises InputError when the aspect ratios differ.
    """
    landmarks = _read_layer(driving) if has_layer(driving, "landmarks") else _detect(driving, open_detector())
    yield from points_at_size(driving, landmarks, width, height)


def _read_layer(driving: FrameSource) -> Iterator[Points]:
    assert driving.clip is not None
    yield from select_main_subject(driving.clip.layer("landmarks").arrays()["points"])[:, 0]


def _detect(driving: FrameSource, detect: Detect) -> Iterator[Points]:
    for frame in driving.frames():
        face = largest(detect(frame))
        yield np.zeros((68, 3), np.float32) if face is None else face


def _missing(context: EvaluationContext) -> str:
    return missing_detector(context.landmarks)


def _open(context: EvaluationContext) -> Scorer:
    open_detector = detector_factory(context.landmarks, context.device)
    return LandmarkError(_targets(context, open_detector), open_detector)


def _targets(context: EvaluationContext, open_detector: Callable[[], Detect]) -> Iterator[Points] | None:
    """The landmarks of the driving. None (the reference's landmarks are used) without a driving, and if the layer that a result contains is
    not of landmarks."""
    if context.driving is None or (context.kept and not has_layer(context.driving, "landmarks")):
        return None
    return driving_landmarks(context.driving, context.width, context.height, open_detector)


METRIC = Metric(
    name="landmark-error",
    summary="landmarks found in the result against the driving landmarks",
    unit="% of eye distance",
    better="lower",
    open=_open,
    missing=_missing,
    min_side=16,
    floor=True,
)
