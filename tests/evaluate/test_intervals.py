"""Bootstrap confidence intervals against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from typed_metrics import not_none

from stages.evaluate.intervals import of_clips, of_frames


def test_the_interval_of_independent_scores_is_close_to_the_t_interval():
    values = np.random.default_rng(0).normal(3.0, 2.0, 200)
    expected = stats.t.interval(0.95, 199, values.mean(), stats.sem(values))
    assert of_clips(values.tolist()) == pytest.approx(expected, abs=0.05)


def test_correlated_frames_have_a_wider_interval():
    independent = np.random.default_rng(0).normal(size=40)
    repeated = np.repeat(independent, 10)  # 400 frames with the information of 40
    low, high = map(not_none, of_frames(repeated.tolist()))
    naive_low, naive_high = map(not_none, of_clips(repeated.tolist()))
    expected = stats.t.interval(0.95, 39, repeated.mean(), stats.sem(independent))
    assert high - low > 2 * (naive_high - naive_low)
    assert high - low == pytest.approx(expected[1] - expected[0], rel=0.35)


def test_equal_scores_have_an_interval_of_no_width_and_a_single_score_has_none():
    assert of_frames([2.5] * 30) == of_clips([2.5] * 3) == (2.5, 2.5)
    assert of_frames([1.0]) == of_clips([]) == (None, None)


def test_the_same_scores_have_the_same_interval():
    values = np.random.default_rng(1).normal(size=50).tolist()
    assert of_frames(values) == of_frames(values)
