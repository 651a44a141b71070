"""Bootstrap intervals against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from figures import not_none
from scipy import stats

from stages.evaluate.intervals import of_clips, of_frames


def test_of_independent_figures_it_is_about_the_t_interval():
    values = np.random.default_rng(0).normal(3.0, 2.0, 200)
    expected = stats.t.interval(0.95, 199, values.mean(), stats.sem(values))
    assert of_clips(values.tolist()) == pytest.approx(expected, abs=0.05)


def test_frames_that_resemble_their_neighbours_say_less():
    independent = np.random.default_rng(0).normal(size=40)
    alike = np.repeat(independent, 10)  # 400 frames that know no more than 40
    low, high = map(not_none, of_frames(alike.tolist()))
    naive_low, naive_high = map(not_none, of_clips(alike.tolist()))
    expected = stats.t.interval(0.95, 39, alike.mean(), stats.sem(independent))
    assert high - low > 2 * (naive_high - naive_low)
    assert high - low == pytest.approx(expected[1] - expected[0], rel=0.35)


def test_a_constant_has_no_width_and_a_single_figure_no_interval():
    assert of_frames([2.5] * 30) == of_clips([2.5] * 3) == (2.5, 2.5)
    assert of_frames([1.0]) == of_clips([]) == (None, None)


def test_the_same_figures_have_the_same_interval():
    values = np.random.default_rng(1).normal(size=50).tolist()
    assert of_frames(values) == of_frames(values)
