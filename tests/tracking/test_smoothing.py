"""Smoothing in time: less noise, no lag, and what moves fast stays sharp."""

from __future__ import annotations

import numpy as np

from stages.tracking.smoothing import Tracked, smooth_tracks

SIZE = 100.0


def smooth(x: np.ndarray, identity: np.ndarray | None = None, strength: float = 1.0, fps: float = 25.0) -> np.ndarray:
    """x [T] of one point, beside two that fix the size of the subject at 100 pixels -> the smoothed x [T]."""
    who = np.zeros(len(x), int) if identity is None else identity
    frames = []
    for value, one in zip(x, who, strict=True):
        points = np.array([[[value, 0, 1], [0, 0, 1], [SIZE, SIZE, 1]]], np.float32) * (one >= 0)
        frames.append(Tracked(points, np.array([one]), None))
    return np.array([frame.points[0, 0, 0] for frame in smooth_tracks(iter(frames), fps, strength)])


def test_noise_shrinks() -> None:
    noise = np.random.default_rng(0).normal(0, 0.4, 400) + 50
    assert smooth(noise).std() < 0.65 * noise.std()


def test_a_steady_motion_is_left_exactly_where_it_is() -> None:
    line = 10 + 0.7 * np.arange(60)
    assert np.abs(smooth(line) - line).max() < 1e-3


def test_a_swinging_point_does_not_lag() -> None:
    time = np.arange(200)
    swing = 50 + 10 * np.sin(time / 6)
    moved = smooth(swing)
    shifts = {lag: np.abs(moved[10:-10] - np.roll(swing, lag)[10:-10]).mean() for lag in (-1, 0, 1)}
    assert min(shifts, key=shifts.__getitem__) == 0 and shifts[0] < 0.2


def test_a_blink_keeps_its_depth() -> None:
    blink = np.full(30, 50.0)
    blink[14:16] = 57.0
    assert smooth(blink)[14:16].min() > 56.5


def test_nothing_leaks_over_a_gap_or_to_another_identity() -> None:
    x = np.concatenate([np.full(6, 50.0), np.full(6, 50.8)])
    two_people = np.repeat([0, 1], 6)
    assert np.array_equal(smooth(x, two_people), x.astype(np.float32))
    with_gap = two_people.copy()
    with_gap[5:7] = -1
    assert np.array_equal(smooth(x, with_gap)[[0, 4, 7, 11]], x[[0, 4, 7, 11]].astype(np.float32))


def test_zero_strength_changes_nothing_and_every_frame_comes_out() -> None:
    x = np.random.default_rng(1).normal(50, 3, 37)
    assert np.array_equal(smooth(x, strength=0), x.astype(np.float32))
    for length in (1, 2, 3, 4, 9):
        assert len(smooth(x[:length], fps=60)) == length
