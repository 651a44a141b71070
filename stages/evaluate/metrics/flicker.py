"""How much the error of a result changes from frame to frame. An error that stays the same is not flicker.

The change from frame t - 1 to frame t is computed for the result and for the reference; the figure is the mean absolute difference of the
two. It is dtSSD of Erofeev et al. 2015 with absolute values instead of squares. Unlike `warping-error` it needs no optical flow, and it is
0 only for the truth plus an error that never changes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stages.evaluate.metric import EvaluationContext, Image, Metric, Scorer


class Flicker:
    """Grey levels, averaged over pixels and channels. The first frame has no figure."""

    def __init__(self) -> None:
        self._errors: list[NDArray[np.int16]] | None = None

    def __call__(self, reference: Image, candidates: Sequence[Image]) -> list[float] | None:
        truth = reference.astype(np.int16)
        before, self._errors = self._errors, [candidate - truth for candidate in candidates]
        if before is None:
            return None
        return [float(np.abs(now - then).mean()) for then, now in zip(before, self._errors, strict=True)]


def _open(context: EvaluationContext) -> Scorer:
    return Flicker()


METRIC = Metric(
    name="flicker",
    summary="change of the error from frame to frame",
    unit="grey levels",
    better="lower",
    open=_open,
    min_frames=2,
)
