"""Structural similarity of single frames (Wang et al. 2004): Gaussian window of 11 pixels, mean over red, green and blue."""

from __future__ import annotations

from collections.abc import Sequence

from stages.evaluate.metric import EvaluationContext, Image, Metric, Scorer
from stages.evaluate.structure import WINDOW, ImageStatistics, mean_inside


def similarity(first: ImageStatistics, second: ImageStatistics) -> float:
    """SSIM; 1 for equal images, which is the maximum."""
    return float(mean_inside(first.luminance(second) * first.contrast_and_structure(second)).mean())


def _open(context: EvaluationContext) -> Scorer:
    def score(reference: Image, candidates: Sequence[Image]) -> list[float]:
        truth, *others = context.cache(ImageStatistics.of_all, [reference, *candidates])
        return [similarity(truth, other) for other in others]

    return score


METRIC = Metric(
    name="ssim", summary="structural similarity, 1 for equal frames", unit="", better="higher", open=_open, min_side=WINDOW
)  # fmt: skip
