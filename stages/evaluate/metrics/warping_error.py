"""How much a result changes from frame to frame beyond what moves (Lai et al. 2018, section 5).

The flow is that of the real frames. The result's frame t - 1 is warped along it and compared with frame t, where a forward-backward check
finds both frames to show the same point. A frozen picture also scores well here, so the figure means little without the others; the
floor is what the real video scores.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stages.evaluate.metric import Image, Metric, Scorer, Setting
from stages.evaluate.motion import LEAST_SIDE, FlowFinder, consistent, warp


class WarpingError:
    """Mean absolute difference in grey levels over the visible pixels; the first frame only starts the comparison."""

    def __init__(self) -> None:
        self._flow = FlowFinder()
        self._reference: Image | None = None
        self._candidates: list[Image] = []

    def __call__(self, reference: Image, candidates: Sequence[Image]) -> list[float] | None:
        before, self._reference = self._reference, reference
        previous, self._candidates = self._candidates, list(candidates)
        if before is None:
            return None
        backward, forward = self._flow(reference, before), self._flow(before, reference)
        visible = consistent(backward, forward)
        if not visible.any():
            return None
        return [float(np.abs(now - warp(then, backward))[visible].mean()) for then, now in zip(previous, candidates, strict=True)]


def _open(setting: Setting) -> Scorer:
    return WarpingError()


METRIC = Metric(
    name="warping-error",
    summary="change from frame to frame beyond the motion of the reference",
    unit="grey levels",
    better="lower",
    open=_open,
    least_frames=2,
    least_side=LEAST_SIDE,
    floor=True,
)
