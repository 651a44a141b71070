"""Structural similarity of single frames (Wang et al. 2004): Gaussian window of 11 pixels, mean over red, green and blue."""

from __future__ import annotations

from collections.abc import Sequence

from stages.evaluate.metric import EvaluationContext, Image, Metric, Scorer
from stages.evaluate.structure import WINDOW, Structure, mean_inside


def similarity(ours: Structure, theirs: Structure) -> float:
    """At most 1, for equal images."""
    return float(mean_inside(ours.luminance(theirs) * ours.contrast_and_structure(theirs)).mean())


def _open(context: EvaluationContext) -> Scorer:
    def score(reference: Image, candidates: Sequence[Image]) -> list[float]:
        truth, *others = context.cache(Structure.of_all, [reference, *candidates])
        return [similarity(truth, other) for other in others]

    return score


METRIC = Metric(
    name="ssim", summary="structural similarity, 1 for equal frames", unit="", better="higher", open=_open, min_side=WINDOW
)  # fmt: skip
