"""What a few runs with other seeds allow to say: means with 95 % intervals, and whether one method beats another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from scipy.stats import t

LEVEL = 0.95
Verdict = Literal["holds", "does not hold", "undecided"]


def mean_and_half(values: Sequence[float]) -> tuple[float, float | None]:
    """The mean and half the width of its 95 % interval (Student's t); None of a single value."""
    count = len(values)
    if count < 2:
        return float(values[0]), None
    half = t.ppf((1 + LEVEL) / 2, count - 1) * np.std(values, ddof=1) / np.sqrt(count)
    return float(np.mean(values)), float(half)


def beats(ours: Sequence[float], theirs: Sequence[float], better: str) -> Verdict:
    """Whether ours are better ("lower" or "higher") than theirs, pair by pair of the same seed.

    The 95 % interval of the mean difference decides: undecided where it contains 0, or where there is one pair only.
    """
    sign = 1 if better == "higher" else -1
    mean, half = mean_and_half([sign * (a - b) for a, b in zip(ours, theirs, strict=True)])
    if half is None or abs(mean) <= half:
        return "undecided"
    return "holds" if mean > 0 else "does not hold"


def shown(mean: float, half: float | None) -> str:
    """12.3 ± 0.4, with as many digits as the interval bears; three where there is none."""
    if half is None:
        return f"{mean:.3g}"
    if half == 0:
        return f"{mean:.3g} ± 0"
    digits = max(0, 1 - int(np.floor(np.log10(half))))
    return f"{mean:.{digits}f} ± {half:.{digits}f}"
