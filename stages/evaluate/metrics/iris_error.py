"""Whether the eyes look where the driver's look: iris centres detected in the result against those that drove it.

Each iris is measured in coordinates of its own eye, from its outer to its inner corner, independent of the position of the face; the mean
distance of both is given in per cent of the eye's width. The detector is MediaPipe, the only one that sees irises.
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
"""Landmarks of an eye, whose first and fourth are its corners, and the place of its iris' centre among the points of both."""


class IrisError:
    """targets: positions [2, 2] of both irises in each driving frame, or None where they are not seen; None for those of the reference."""

    def __init__(self, targets: Iterator[NDArray[np.float64] | None] | None, open_detector: Callable[[], Detect]) -> None:
        self._targets, self._open_detector = targets, open_detector
        self._reference, self._detectors = open_detector(), list[Detect]()

    def __call__(self, reference: Image, candidates: Sequence[Image]) -> list[float | None] | None:
        while len(self._detectors) < len(candidates):
            self._detectors.append(self._open_detector())
        face = largest(self._reference(reference))
        target = next(self._targets) if self._targets else positions(face)
        found = [detect(frame) for detect, frame in zip(self._detectors, candidates, strict=True)]
        if target is None or face is None:
            return None
        return [error(positions(nearest(faces, face)), target) for faces in found]


def positions(face: Points | None) -> NDArray[np.float64] | None:
    """Both irises' centres [2, 2] in coordinates of their eyes: 0 to 1 from corner to corner, and across; None where an iris is not
    seen."""
    if face is None or len(face) == LANDMARKS:
        return None
    found = []
    for eye, centre in _EYES:
        outer_corner, inner_corner, iris = face[eye][0], face[eye][3], face[LANDMARKS + centre]
        along = inner_corner[:2].astype(np.float64) - outer_corner[:2]
        width = float(along @ along)
        if min(outer_corner[2], inner_corner[2], iris[2]) <= 0 or not width:
            return None
        off = iris[:2] - outer_corner[:2]
        found.append((off @ along / width, (off[1] * along[0] - off[0] * along[1]) / width))
    return np.array(found)


def error(found: NDArray[np.float64] | None, target: NDArray[np.float64]) -> float | None:
    """Mean distance of both irises in per cent of the eyes' width."""
    return None if found is None else float(100 * np.linalg.norm(found - target, axis=1).mean())


def _targets(context: EvaluationContext, open_detector: Callable[[], Detect]) -> Iterator[NDArray[np.float64] | None] | None:
    """The driving's irises: of its layer, else detected in its frames. None for the reference's: without a driving, and where a result
    keeps landmarks without irises."""
    driving = context.driving
    if driving is None:
        return None
    if driving.clip is not None and has_layer(driving, "landmarks"):
        arrays = driving.clip.layer("landmarks").arrays()
        chosen = main_subject(arrays["points"])
        if "iris" in arrays and chosen is not None:
            faces = np.concatenate([arrays["points"][:, chosen], arrays["iris"][:, chosen]], 1)
            return map(positions, faces)
    if context.kept:
        return None
    detect = open_detector()
    return (positions(largest(detect(frame))) for frame in driving.frames())


def _open(context: EvaluationContext) -> Scorer:
    backend = Backends("landmarks").require("mediapipe")

    def open_detector() -> Detect:
        detector = backend.open(context.device)
        return lambda frame: [face.points for face in detector(frame)]

    return IrisError(_targets(context, open_detector), open_detector)


METRIC = Metric(
    name="iris-error",
    summary="irises found in the result against those that drove it",
    unit="% of the eye's width",
    better="lower",
    open=_open,
    missing=lambda context: Backends("landmarks").get("mediapipe").missing(),
    min_side=16,
    floor=True,
    only_by_name=True,
)
