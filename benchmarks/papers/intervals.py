"""Statistics of a few runs with different seeds: means with 95 % confidence intervals, and whether one method beats another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from scipy.stats import t

LEVEL = 0.95
Verdict = Literal["holds", "does not hold", "undecided"]


def mean_and_half_width(values: Sequence[float]) -> tuple[float, float | None]:
    """The mean, and half the width of its 95 % confidence interval (Student's t), which is None for a single value."""
    count = len(values)
    if count < 2:
        return float(values[0]), None
    half = t.ppf((1 + LEVEL) / 2, count - 1) * np.std(values, ddof=1) / np.sqrt(count)
    return float(np.mean(values)), float(half)


def paired_verdict(values: Sequence[float], baseline: Sequence[float], better: str) -> Verdict:
    """Whether the claim holds that `values` are better than `baseline`, from pairs of runs with the same seed. better: "lower" or "higher".

    The verdict follows from the 95 % interval of the mean difference. It is "undecided" if this interval contains 0, or for a single pair.
    """
    sign = 1 if better == "higher" else -1
    mean, half = mean_and_half_width([sign * (a - b) for a, b in zip(values, baseline, strict=True)])
    if half is None or abs(mean) <= half:
        return "undecided"
    return "holds" if mean > 0 else "does not hold"


def format_interval(mean: float, half: float | None) -> str:
    """For example "12.30 ± 0.42": two significant digits of the half-width, and as many decimals of the mean.

    Without a half-width, three digits.
    """
    if half is None:
        return f"{mean:.3g}"
    if half == 0:
        return f"{mean:.3g} ± 0"
    decimals = max(0, 1 - int(np.floor(np.log10(half))))
    return f"{mean:.{decimals}f} ± {half:.{decimals}f}"
