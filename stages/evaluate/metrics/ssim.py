"""Structural similarity of single frames (Wang et al. 2004): Gaussian window of 11 pixels, mean over red, green and blue."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stages.evaluate.metric import Image, Metric, Scorer, Setting
from stages.evaluate.metrics.ms_ssim import WINDOW, compare


def similarity(ours: Image, theirs: Image) -> float:
    """Two images [H, W, 3] -> at most 1, for equal ones; where the window lies within them, as skimage and the authors have it."""
    luminance, structure = compare(ours.astype(np.float64), theirs.astype(np.float64))
    return float((luminance * structure).mean())


def _open(setting: Setting) -> Scorer:
    def score(reference: Image, candidates: Sequence[Image]) -> list[float]:
        return [similarity(candidate, reference) for candidate in candidates]

    return score


METRIC = Metric(
    name="ssim", summary="structural similarity, 1 for equal frames", unit="", better="higher", open=_open, least_side=WINDOW
)  # fmt: skip
