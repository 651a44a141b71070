"""A live driver's face is fitted to the example like a face in a clip, but each frame is made without later ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stages.clip import open_clip
from stages.conditions.landmarks import eye_distance
from stages.conditions.live_face import REFERENCE_FRAMES, LiveFace
from stages.conditions.motion import Motion
from stages.conditions.normalise import normalise

DRIVING = Path(__file__).resolve().parents[2] / "examples" / "driving.clip"


@pytest.fixture(scope="module")
def driver() -> np.ndarray:
    """[T, 78, 3]: the drawn driver of the examples, without irises."""
    faces = open_clip(DRIVING).layer("landmarks").arrays()["points"][:, 0]
    return np.pad(faces, ((0, 0), (0, 10), (0, 0)))


@pytest.fixture(scope="module")
def example(driver: np.ndarray) -> np.ndarray:
    """[78, 3]: a rounder face at another position, with the expression of the driver in frame 10."""
    face = driver[10].copy()
    face[:68, :2] = (face[:68, :2] - face[:68, :2].mean(0)) * [0.6, 0.5] + [128, 120]
    return face


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """Mean distance of landmarks, in eye distances of `a`."""
    return float(np.linalg.norm(a[..., :68, :2] - b[..., :68, :2], axis=-1).mean() / eye_distance(a[0, :68]))


def test_a_live_face_is_fitted_like_a_face_in_a_clip(driver, example):
    live = LiveFace(example)
    made = np.stack([live(face) for face in driver])
    assert distance(made[REFERENCE_FRAMES:], normalise(driver, example)[REFERENCE_FRAMES:]) < 0.03
    assert distance(made[REFERENCE_FRAMES:], driver[REFERENCE_FRAMES:]) > 0.3


def test_a_frame_does_not_depend_on_later_ones(driver, example):
    whole, part = LiveFace(example), LiveFace(example)
    made = [whole(face) for face in driver[:40]]
    assert all(np.array_equal(part(face), known) for face, known in zip(driver[:10], made, strict=False))


def test_the_camera_may_be_anywhere(driver, example):
    """The size and position of the driver's face in the image have no influence."""
    near, far = LiveFace(example), LiveFace(example)
    shifted = driver * [2, 2, 1] + [300, -40, 0]
    shifted[:, 68:] = 0
    assert distance(np.stack([near(face) for face in driver[:30]]), np.stack([far(face) for face in shifted[:30]])) < 0.01


def test_without_pose_the_head_keeps_its_position_in_the_example(driver, example):
    live = LiveFace(example, motion=Motion(pose=0))
    made = np.stack([live(face) for face in driver])
    temples = made[:, [0, 16], :2]
    assert np.ptp(temples, axis=0).max() < 0.02 * eye_distance(example[:68])


def test_jitter_is_smoothed_and_fast_motion_does_not_lag(driver, example):
    size = np.ptp(driver[0, :68, :2], axis=0).max()
    still = np.repeat(driver[:1], 60, 0)
    jittering = still.copy()
    jittering[:, :68, :2] += np.random.default_rng(0).normal(0, 0.003 * size, (60, 68, 2))
    live, plain = LiveFace(example), normalise(jittering, example)
    smooth = np.stack([live(face) for face in jittering])
    assert np.diff(smooth[30:, :68, :2], axis=0).std() < 0.7 * np.diff(plain[30:, :68, :2], axis=0).std()

    moving = still.copy()
    moving[:, :68, 0] += 0.05 * size * np.arange(60)[:, None]
    live = LiveFace(example)
    made = np.stack([live(face) for face in moving])
    steps = np.diff(made[30:, :68, 0].mean(1))
    assert np.allclose(steps, steps.mean(), rtol=0.01)
    step = 0.05 * size * np.ptp(example[:68, 0]) / np.ptp(driver[0, :68, 0])
    assert steps.mean() == pytest.approx(step, rel=0.2)


def test_a_restart_measures_the_drivers_proportions_again(driver, example):
    live, fresh = LiveFace(example), LiveFace(example)
    wide = driver * [1.5, 1, 1]
    for face in driver[:30]:
        live(face)
    before = live(wide[40])
    live.restart()
    assert np.array_equal(live(wide[41]), fresh(wide[41]))
    assert distance(before[None], fresh(wide[41])[None]) > 0.02
