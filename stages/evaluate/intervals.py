"""95 % confidence intervals of means and shares, by the bootstrap (Efron 1979) or in closed form."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

DRAWS, BATCH = 10_000, 1_000
"""Number of draws of a bootstrap, and how many of them are computed at a time."""
LEVEL = 0.95
_SEED = 2019
Interval = tuple[float, float] | tuple[None, None]


def of_frames(values: Sequence[float]) -> Interval:
    """The 95 % interval of the mean of the figures of successive frames.

    Neighbouring frames are alike, so they are drawn in circular blocks (Politis and Romano 1992) of about the square root of their number.
    The interval does not include the variation between clips. (None, None) for fewer than two values.
    """
    return _interval(np.asarray(values, np.float64), max(1, round(math.sqrt(len(values)))))


def of_clips(values: Sequence[float]) -> Interval:
    """The 95 % interval of the mean of independent figures, in any order: clips, people, seeds. (None, None) for fewer than two."""
    return _interval(np.asarray(sorted(values), np.float64), 1)


def _interval(values: NDArray[np.float64], block: int) -> Interval:
    """Percentile bootstrap of the mean. block: number of successive values that are drawn together."""
    if len(values) < 2:
        return None, None
    sums = np.cumsum(np.concatenate([[0.0], values, values[:block]]))
    block_sums = sums[block : block + len(values)] - sums[: len(values)]
    count = max(1, round(len(values) / block))
    random = np.random.default_rng(_SEED)
    means = [block_sums[random.integers(len(values), size=(BATCH, count))].sum(1) / (count * block) for _ in range(DRAWS // BATCH)]
    low, high = np.quantile(np.concatenate(means), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def wilson(chosen: int, answers: int, level: float = LEVEL) -> tuple[float, float]:
    """Wilson's score interval (1927) of the share `chosen` / `answers` of independent answers; (0, 1) without answers.

    It contains the shares p for which `chosen` is within z standard deviations of p * answers; z is the normal quantile of (1 + level) / 2.
    """
    if answers == 0:
        return 0.0, 1.0
    share, z2 = chosen / answers, NormalDist().inv_cdf((1 + level) / 2) ** 2
    middle = share + z2 / (2 * answers)
    half_width = math.sqrt(z2 * (share * (1 - share) + z2 / (4 * answers)) / answers)
    low, high = ((middle + sign * half_width) / (1 + z2 / answers) for sign in (-1, 1))
    return (0.0 if chosen == 0 else low), (1.0 if chosen == answers else high)


def bootstrap_workers(chosen: Sequence[int], answers: Sequence[int], level: float = LEVEL) -> tuple[float, float] | None:
    """The interval of the share sum(chosen) / sum(answers) by a cluster bootstrap, which draws workers with all their answers.

    chosen, answers: for each worker, the number of answers that chose the method, and of all answers (at least 1). None for one worker. The
    answers of one worker are correlated, which Wilson's interval ignores. The same numbers always give the same interval.
    """
    if len(answers) < 2:
        return None
    count, random, shares = len(answers), np.random.default_rng(0), []
    for _ in range(DRAWS // BATCH):
        drawn = random.multinomial(count, np.full(count, 1 / count), BATCH)  # [BATCH, workers]: how often each is in a draw
        shares.append((drawn @ np.asarray(chosen)) / (drawn @ np.asarray(answers)))
    low, high = np.quantile(np.concatenate(shares), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
