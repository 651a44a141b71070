"""How much a result changes from frame to frame beyond the motion of the reference (Lai et al. 2018, section 5).

The optical flow is that of the reference. The result's frame t - 1 is warped along it and compared with its frame t, at the pixels that a
forward-backward check finds visible in both frames. A still image scores well, too, so read the figure together with those of other
metrics. The floor is the score of the reference itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from stages.evaluate.metric import EvaluationContext, Image, Metric, Scorer
from stages.evaluate.motion import MIN_SIDE, FlowEstimator, Mask, consistent, warp


class WarpingError:
    """Mean absolute difference in grey levels over the visible pixels. The first frame has no figure."""

    def __init__(self) -> None:
        self._flow = FlowEstimator()
        self._reference: Image | None = None
        self._candidates: list[Image] = []

    def __call__(self, reference: Image, candidates: Sequence[Image]) -> list[float] | None:
        last_reference, self._reference = self._reference, reference
        last_candidates, self._candidates = self._candidates, list(candidates)
        if last_reference is None:
            return None
        backward, forward = self._flow(reference, last_reference), self._flow(last_reference, reference)
        visible = consistent(backward, forward)
        if not visible.any():
            return None
        return [mean_difference(frame, warp(last, backward), visible) for last, frame in zip(last_candidates, candidates, strict=True)]


def mean_difference(image: Image, other: NDArray[np.float32], mask: Mask) -> float:
    """Mean absolute difference in grey levels of two images [H, W, 3], over the pixels of a mask [H, W] that is not empty."""
    total = float(cv2.norm(image.astype(np.float32), other, cv2.NORM_L1, mask.view(np.uint8)))
    return total / float(mask.sum() * image.shape[2])


def _open(context: EvaluationContext) -> Scorer:
    return WarpingError()


METRIC = Metric(
    name="warping-error",
    summary="change from frame to frame beyond the motion of the reference",
    unit="grey levels",
    better="lower",
    open=_open,
    min_frames=2,
    min_side=MIN_SIDE,
    floor=True,
)
