"""Structural similarity of single frames (Wang et al. 2004): Gaussian window of 11 pixels, mean over red, green and blue."""

from __future__ import annotations

from collections.abc import Sequence

from stages.evaluate.metric import Image, Metric, Scorer, Setting


def _open(setting: Setting) -> Scorer:
    from skimage.metrics import structural_similarity

    def similarity(reference: Image, candidate: Image) -> float:
        window = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
        return float(structural_similarity(reference, candidate, channel_axis=-1, data_range=255, **window))

    def score(reference: Image, candidates: Sequence[Image]) -> list[float]:
        return [similarity(reference, candidate) for candidate in candidates]

    return score


METRIC = Metric(name="ssim", summary="structural similarity, 1 for equal frames", unit="", better="higher", open=_open, least_side=11)
