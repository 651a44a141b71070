"""Whether the eyes look where the driver's look: iris centres detected in the result against the driving ones.

Each iris is measured in coordinates of its eye, from the corner on the left of the image to the one on the right, so that the position of
the face does not matter. The figure is the mean distance of both irises in per cent of the eye's width. The detector is MediaPipe, the only
one that detects irises.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from stages.backends import Backends
from stages.conditions.landmarks import LANDMARKS, LEFT_EYE, RIGHT_EYE
from stages.conditions.redetection import largest, nearest
from stages.conditions.tracks import main_subject
from stages.evaluate.driven import has_layer
from stages.evaluate.metric import EvaluationContext, Image, Metric, Scorer

Points = NDArray[np.float32]
Detect = Callable[[Image], list[Points]]
"""frame -> each face with its irises, [78, 3]."""
_EYES = ((RIGHT_EYE, 0), (LEFT_EYE, 5))
"""(landmarks of an eye, index of the centre of its iris among the ten iris points). The first landmark is the corner on the left of the
image, the fourth that on the right."""


class IrisError:
    """Compares the irises of candidates with the driving irises. Each candidate has its own detector.

    targets: for each driving frame, the positions [2, 2] of both irises or None if they are not seen. Without targets the irises of the
    reference are used.
    """

    def __init__(self, targets: Iterator[NDArray[np.float64] | None] | None, open_detector: Callable[[], Detect]) -> None:
        self._targets, self._open_detector = targets, open_detector
        self._reference_detector, self._detectors = open_detector(), list[Detect]()

    def __call__(self, reference: Image, candidates: Sequence[Image]) -> list[float | None] | None:
        while len(self._detectors) < len(candidates):
            self._detectors.append(self._open_detector())
        face = largest(self._reference_detector(reference))
        target = next(self._targets) if self._targets else iris_positions(face)
        detected = [detect(frame) for detect, frame in zip(self._detectors, candidates, strict=True)]
        if target is None or face is None:
            return None
        return [error(iris_positions(nearest(faces, face)), target) for faces in detected]


def iris_positions(face: Points | None) -> NDArray[np.float64] | None:
    """The centre of each iris [2, 2]: its position along the line from the left corner (0) to the right corner (1) of the eye, and its
    signed distance from that line, in widths of the eye. None where an iris is not seen."""
    if face is None or len(face) == LANDMARKS:
        return None
    found = []
    for eye, centre in _EYES:
        left_corner, right_corner, iris = face[eye][0], face[eye][3], face[LANDMARKS + centre]
        along = right_corner[:2].astype(np.float64) - left_corner[:2]
        squared_width = float(along @ along)
        if min(left_corner[2], right_corner[2], iris[2]) <= 0 or not squared_width:
            return None
        offset = iris[:2] - left_corner[:2]
        found.append((offset @ along / squared_width, (offset[1] * along[0] - offset[0] * along[1]) / squared_width))
    return np.array(found)


def error(found: NDArray[np.float64] | None, target: NDArray[np.float64]) -> float | None:
    """Mean distance of both irises in per cent of the eyes' width."""
    return None if found is None else float(100 * np.linalg.norm(found - target, axis=1).mean())


def _targets(context: EvaluationContext, open_detector: Callable[[], Detect]) -> Iterator[NDArray[np.float64] | None] | None:
    """The irises of the driving, from its layer or else detected in its frames. None (the reference's irises are used) without a driving,
    and if the driving layer in a result has no irises."""
    driving = context.driving
    if driving is None:
        return None
    if driving.clip is not None and has_layer(driving, "landmarks"):
        arrays = driving.clip.layer("landmarks").arrays()
        chosen = main_subject(arrays["points"])
        if "iris" in arrays and chosen is not None:
            faces = np.concatenate([arrays["points"][:, chosen], arrays["iris"][:, chosen]], 1)
            return map(iris_positions, faces)
    if context.kept:
        return None
    detect = open_detector()
    return (iris_positions(largest(detect(frame))) for frame in driving.frames())


def _open(context: EvaluationContext) -> Scorer:
    backend = Backends("landmarks").require("mediapipe")

    def open_detector() -> Detect:
        detector = backend.open(context.device)
        return lambda frame: [face.points for face in detector(frame)]

    return IrisError(_targets(context, open_detector), open_detector)


METRIC = Metric(
    name="iris-error",
    summary="irises found in the result against the driving irises",
    unit="% of the eye's width",
    better="lower",
    open=_open,
    missing=lambda context: Backends("landmarks").get("mediapipe").missing(),
    min_side=16,
    floor=True,
    only_by_name=True,
)
