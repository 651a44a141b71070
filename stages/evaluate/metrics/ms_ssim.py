"""Structural similarity at five scales (Wang et al. 2003): Gaussian window of 11 pixels, mean over red, green and blue.

Each scale halves the one before. The window has to fit into the coarsest, so five scales need 176 pixels a side. Smaller frames have as
many scales as the window fits into, with weights scaled to sum to one: compare such figures only with those of as many scales.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stages.evaluate.metric import EvaluationContext, Image, Metric, Scorer
from stages.evaluate.structure import WINDOW, Pixels, Structure, mean_inside

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Weights of the scales, the finest first (section 3.2)."""


def scales(width: int, height: int) -> int:
    """Number of scales, each half the previous one, that have room for the window; at most five."""
    return max(1, sum(min(width, height) >> scale >= WINDOW for scale in range(len(WEIGHTS))))


def similarity(ours: Structure, theirs: Structure, count: int) -> float:
    """At most 1, for equal images, at `count` scales. A scale on which structures are opposed counts as 0."""
    weights = WEIGHTS if count == len(WEIGHTS) else [weight / sum(WEIGHTS[:count]) for weight in WEIGHTS[:count]]
    product: Pixels = np.ones(3)
    for scale, weight in enumerate(weights):
        if scale:
            ours, theirs = ours.half, theirs.half
        compared = ours.contrast_and_structure(theirs)
        if scale == count - 1:
            compared = compared * ours.luminance(theirs)
        product *= mean_inside(compared).clip(0) ** weight  # eq. 7
    return float(product.mean())


def _open(context: EvaluationContext) -> Scorer:
    count = scales(context.width, context.height)

    def score(reference: Image, candidates: Sequence[Image]) -> list[float]:
        truth, *others = context.cache(Structure.of_all, [reference, *candidates])
        return [similarity(truth, other, count) for other in others]

    return score


def _caution(context: EvaluationContext) -> str:
    count = scales(context.width, context.height)
    if count == len(WEIGHTS):
        return ""
    size = f"frames of {context.width}x{context.height} pixels have room for {count} of its {len(WEIGHTS)} scales"
    return f"ms-ssim: {size}; compare the figures only with others of {count} scale{'s' * (count > 1)}"


METRIC = Metric(
    name="ms-ssim",
    summary="structural similarity at several scales, 1 for equal frames",
    unit="",
    better="higher",
    open=_open,
    min_side=WINDOW,
    caution=_caution,
)
