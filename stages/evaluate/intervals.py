"""How sure a mean is: intervals by the bootstrap (Efron 1979), of neighbouring frames by whole blocks (Politis and Romano 1992)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

DRAWS = 2000
LEVEL = 0.95
_SEED = 2019
Interval = tuple[float, float] | tuple[None, None]


def of_frames(values: Sequence[float]) -> Interval:
    """The 95 % interval of the mean of figures of successive frames.

    Neighbouring frames are alike, so that they are drawn in circular blocks of about the square root of their number; what the interval
    leaves out is how other clips would differ. Nothing of fewer than two.
    """
    return _interval(np.asarray(values, np.float64), max(1, round(math.sqrt(len(values)))))


def of_clips(values: Sequence[float]) -> Interval:
    """The 95 % interval of the mean of independent figures: clips, persons, seeds. Nothing of fewer than two."""
    return _interval(np.asarray(values, np.float64), 1)


def _interval(values: NDArray[np.float64], block: int) -> Interval:
    if len(values) < 2:
        return None, None
    sums = np.cumsum(np.concatenate([[0.0], values, values[:block]]))
    of_blocks = sums[block : block + len(values)] - sums[: len(values)]
    count = max(1, round(len(values) / block))
    draw = np.random.default_rng(_SEED)
    means = np.array([of_blocks[draw.integers(len(values), size=count)].sum() for _ in range(DRAWS)]) / (count * block)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
