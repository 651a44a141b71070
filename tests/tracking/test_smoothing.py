"""Temporal smoothing: less noise, no lag, and fast motion is preserved."""

from __future__ import annotations

import numpy as np

from stages.tracking.smoothing import TrackedFrame, smooth_tracks

SIZE = 100.0


def smooth(x: np.ndarray, identity: np.ndarray | None = None, strength: float = 1.0, fps: float = 25.0) -> np.ndarray:
    """x [T] of a point -> the smoothed x [T]. Two fixed points give the subject a size of 100 pixels."""
    identities = np.zeros(len(x), int) if identity is None else identity
    frames = []
    for value, track_id in zip(x, identities, strict=True):
        points = np.array([[[value, 0, 1], [0, 0, 1], [SIZE, SIZE, 1]]], np.float32) * (track_id >= 0)
        frames.append(TrackedFrame(points, np.array([track_id]), None))
    return np.array([frame.points[0, 0, 0] for frame in smooth_tracks(iter(frames), fps, strength)])


def test_noise_is_reduced() -> None:
    noise = np.random.default_rng(0).normal(0, 0.4, 400) + 50
    assert smooth(noise).std() < 0.65 * noise.std()


def test_uniform_motion_does_not_change() -> None:
    line = 10 + 0.7 * np.arange(60)
    assert np.abs(smooth(line) - line).max() < 1e-3


def test_an_oscillating_point_does_not_lag() -> None:
    time = np.arange(200)
    swing = 50 + 10 * np.sin(time / 6)
    smoothed = smooth(swing)
    shifts = {lag: np.abs(smoothed[10:-10] - np.roll(swing, lag)[10:-10]).mean() for lag in (-1, 0, 1)}
    assert min(shifts, key=shifts.__getitem__) == 0 and shifts[0] < 0.2


def test_a_blink_keeps_its_depth() -> None:
    blink = np.full(30, 50.0)
    blink[14:16] = 57.0
    assert smooth(blink)[14:16].min() > 56.5


def test_gaps_and_different_identities_are_not_smoothed_across() -> None:
    x = np.concatenate([np.full(6, 50.0), np.full(6, 50.8)])
    two_people = np.repeat([0, 1], 6)
    assert np.array_equal(smooth(x, two_people), x.astype(np.float32))
    with_gap = two_people.copy()
    with_gap[5:7] = -1
    assert np.array_equal(smooth(x, with_gap)[[0, 4, 7, 11]], x[[0, 4, 7, 11]].astype(np.float32))


def test_strength_0_changes_nothing_and_the_number_of_frames_is_kept() -> None:
    x = np.random.default_rng(1).normal(50, 3, 37)
    assert np.array_equal(smooth(x, strength=0), x.astype(np.float32))
    for length in (1, 2, 3, 4, 9):
        assert len(smooth(x[:length], fps=60)) == length
