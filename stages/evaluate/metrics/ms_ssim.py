"""Structural similarity at five scales (Wang et al. 2003): Gaussian window of 11 pixels, mean over red, green and blue.

Each scale has half the width and height of the previous one. The window has to fit into the coarsest scale, so five scales need 176
pixels a side. Smaller frames have fewer scales, and the weights of these are divided by their sum. Figures with different numbers of
scales cannot be compared.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stages.evaluate.metric import EvaluationContext, Image, Metric, Scorer
from stages.evaluate.structure import WINDOW, ImageStatistics, mean_inside

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Weights of the scales, the finest first (section 3.2)."""


def count_scales(width: int, height: int) -> int:
    """Number of scales into which the window fits; at most five."""
    return max(1, sum(min(width, height) >> scale >= WINDOW for scale in range(len(WEIGHTS))))


def similarity(first: ImageStatistics, second: ImageStatistics, count: int) -> float:
    """MS-SSIM at `count` scales; at most 1, for equal images. A negative mean similarity of a scale is replaced by 0."""
    weights = WEIGHTS if count == len(WEIGHTS) else [weight / sum(WEIGHTS[:count]) for weight in WEIGHTS[:count]]
    product: NDArray[np.float64] = np.ones(3)
    for scale, weight in enumerate(weights):
        if scale:
            first, second = first.half, second.half
        similarities = first.contrast_and_structure(second)
        if scale == count - 1:
            similarities = similarities * first.luminance(second)
        product *= mean_inside(similarities).clip(0) ** weight  # eq. 7
    return float(product.mean())


def _open(context: EvaluationContext) -> Scorer:
    count = count_scales(context.width, context.height)

    def score(reference: Image, candidates: Sequence[Image]) -> list[float]:
        truth, *others = context.cache(ImageStatistics.of_all, [reference, *candidates])
        return [similarity(truth, other, count) for other in others]

    return score


def _caution(context: EvaluationContext) -> str:
    count = count_scales(context.width, context.height)
    if count == len(WEIGHTS):
        return ""
    reason = f"frames of {context.width}x{context.height} pixels have room for {count} of its {len(WEIGHTS)} scales"
    return f"ms-ssim: {reason}; compare the figures only with others of {count} scale{'s' * (count > 1)}"


METRIC = Metric(
    name="ms-ssim",
    summary="structural similarity at several scales, 1 for equal frames",
    unit="",
    better="higher",
    open=_open,
    min_side=WINDOW,
    caution=_caution,
)
