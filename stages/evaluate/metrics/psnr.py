"""Peak signal-to-noise ratio of single frames, over red, green and blue together."""

from __future__ import annotations

from collections.abc import Sequence

from stages.evaluate.metric import EvaluationContext, Image, Metric, Scorer

MAX_PSNR = 100.0
"""The upper limit, in dB, and so the figure of identical frames, whose true ratio is infinite: the mean over frames has to be finite."""


def _open(context: EvaluationContext) -> Scorer:
    import cv2

    def score(reference: Image, candidates: Sequence[Image]) -> list[float]:
        return [min(MAX_PSNR, cv2.PSNR(reference, candidate)) for candidate in candidates]

    return score


METRIC = Metric(name="psnr", summary="peak signal-to-noise ratio", unit="dB", better="higher", open=_open)
