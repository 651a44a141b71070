"""Peak signal-to-noise ratio of single frames, over red, green and blue together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stages.evaluate.metric import Image, Metric, Scorer, Setting

EQUAL = 100.0
"""Equal frames have no noise; their ratio is given as this many decibels, so that a mean exists."""


def _open(setting: Setting) -> Scorer:
    from skimage.metrics import peak_signal_noise_ratio

    def ratio(reference: Image, candidate: Image) -> float:
        return EQUAL if np.array_equal(reference, candidate) else float(peak_signal_noise_ratio(reference, candidate))

    def score(reference: Image, candidates: Sequence[Image]) -> list[float]:
        return [ratio(reference, candidate) for candidate in candidates]

    return score


METRIC = Metric(name="psnr", summary="peak signal-to-noise ratio", unit="dB", better="higher", open=_open)
