"""95 % intervals of a share."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from statistics import NormalDist

import numpy as np

LEVEL = 0.95
DRAWS, BATCH = 10_000, 100  # a batch at a time: there may be thousands of workers


def wilson(chosen: int, answers: int, level: float = LEVEL) -> tuple[float, float]:
    """Wilson's score interval of `chosen` out of `answers` independent ones (1927): (0, 1) for none.

    The shares p for which `chosen` is within z standard deviations of p * answers, z being the normal quantile of the level.
    """
    if answers == 0:
        return 0.0, 1.0
    share, z2 = chosen / answers, NormalDist().inv_cdf((1 + level) / 2) ** 2
    middle = share + z2 / (2 * answers)
    reach = sqrt(z2 * (share * (1 - share) + z2 / (4 * answers)) / answers)
    low, high = ((middle + sign * reach) / (1 + z2 / answers) for sign in (-1, 1))
    return (0.0 if chosen == 0 else low), (1.0 if chosen == answers else high)


def over_workers(chosen: Sequence[int], answers: Sequence[int], level: float = LEVEL) -> tuple[float, float] | None:
    """Percentile bootstrap of the share sum(chosen) / sum(answers), drawing workers with all that they answered. None for a single one.

    chosen, answers: of each worker, answers being at least 1. The answers of one worker resemble each other, which Wilson's interval does
    not know. The draws are the same each time.
    """
    if len(answers) < 2:
        return None
    count, random, shares = len(answers), np.random.default_rng(0), []
    for _ in range(DRAWS // BATCH):
        drawn = random.multinomial(count, np.full(count, 1 / count), BATCH)  # [BATCH, workers]: how often each is in a draw
        shares.append((drawn @ np.asarray(chosen)) / (drawn @ np.asarray(answers)))
    low, high = np.quantile(np.concatenate(shares), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
