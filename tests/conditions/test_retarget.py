"""A driving body gets the proportions and the position of the example, and keeps its own movement."""

from __future__ import annotations

import numpy as np
import pytest

from stages.conditions import poses
from stages.conditions.retarget import retarget

SHAPE = {0: (0, 0), 1: (0, 0.15), 2: (-0.1, 0.15), 3: (-0.15, 0.3), 4: (-0.15, 0.45), 5: (0.1, 0.15), 6: (0.15, 0.3), 7: (0.15, 0.45)}
SHAPE |= {8: (0, 0.45), 9: (-0.07, 0.45), 10: (-0.07, 0.7), 11: (-0.07, 0.95), 12: (0.07, 0.45), 13: (0.07, 0.7), 14: (0.07, 0.95)}
SHAPE |= {15: (-0.02, -0.02), 16: (0.02, -0.02), 19: (0.09, 1.0), 21: (0.06, 1.0), 22: (-0.09, 1.0), 24: (-0.06, 1.0)}
"""Index in BODY_25 -> (x, y) in units of the body height, from the nose."""


def standing_person(height: float, x: float, ground: float) -> np.ndarray:
    """A person [25, 3] who stands upright at `x` with the soles at y = `ground`, `height` pixels from nose to sole."""
    person = np.zeros((25, 3), np.float32)
    for index, (right, down) in SHAPE.items():
        person[index] = x + height * right, ground - height * (1 - down), 1
    return person


def waving_person(frames: int, height: float, x: float, ground: float) -> np.ndarray:
    """The same person [T, 25, 3], rotating the right forearm about the elbow."""
    people = np.stack([standing_person(height, x, ground)] * frames)
    for person, angle in zip(people, np.linspace(0, np.pi, frames), strict=True):
        person[4, :2] = person[3, :2] + 0.15 * height * np.array([-np.sin(angle), np.cos(angle)])
    return people


def extent(body: np.ndarray) -> tuple[float, float, float]:
    """The left, right and bottom edge of the drawing."""
    rows, columns = np.nonzero(poses.draw_pose(body[None], 400, 400).any(-1))
    return columns.min(), columns.max(), rows.max()


def test_a_driver_twice_as_tall_and_elsewhere_gets_the_size_and_position_of_the_example() -> None:
    example = standing_person(height=120, x=90, ground=300)
    driving = np.stack([standing_person(height=240, x=290, ground=390)] * 3)
    fitted = retarget(driving, example[None])
    for body in fitted:
        assert np.abs(np.subtract(extent(body), extent(example))).max() <= 1
        actual, expected = (poses.draw_pose(one[None], 400, 400).astype(int) for one in (body, example))
        assert np.abs(actual - expected).mean() < 0.5


def test_the_angles_of_the_arm_are_those_of_the_driver() -> None:
    driving = waving_person(frames=12, height=240, x=290, ground=390)
    fitted = retarget(driving, standing_person(height=120, x=90, ground=300)[None])
    before, after = (np.arctan2(*(body[:, 4, :2] - body[:, 3, :2]).T) for body in (driving, fitted))
    assert np.allclose(before, after, atol=1e-4)


def test_limbs_get_the_examples_lengths() -> None:
    example = standing_person(height=120, x=90, ground=300)
    example[[10, 13], 1] += 10  # longer thighs move the knees down, and the feet with them
    example[[11, 14, 19, 21, 22, 24], 1] += 10
    fitted = retarget(np.stack([standing_person(height=200, x=200, ground=380)] * 2), example[None])
    thigh = np.linalg.norm(fitted[0, 10, :2] - fitted[0, 9, :2])
    assert thigh == pytest.approx(np.linalg.norm(example[10, :2] - example[9, :2]), rel=0.02)
    assert extent(fitted[0])[2] == pytest.approx(extent(example)[2], abs=1)


def test_the_height_of_a_jump_is_scaled_with_the_body() -> None:
    driving = np.stack([standing_person(240, 200, 390)] * 9 + [standing_person(240, 200, 340)])
    fitted = retarget(driving, standing_person(120, 90, 300)[None])
    feet = fitted[:, [11, 14, 19, 21, 22, 24], 1].max(1)
    assert feet[0] == pytest.approx(300, abs=0.5) and feet[9] == pytest.approx(275, abs=0.5)


def test_steps_to_the_side_are_scaled_about_the_position_of_the_example() -> None:
    driving = np.stack([standing_person(240, 200 + 20 * step, 390) for step in (-1, 0, 1)])
    fitted = retarget(driving, standing_person(120, 90, 300)[None])
    assert fitted[:, 8, 0] == pytest.approx([80, 90, 100], abs=0.5)


def test_upper_bodies_are_fitted_by_their_trunks() -> None:
    driving, example = standing_person(240, 200, 390), standing_person(120, 90, 300)
    for body in (driving, example):
        body[[10, 11, 13, 14, 19, 21, 22, 24]] = 0
    fitted = retarget(driving[None], example[None])[0]
    assert np.allclose(fitted, example, atol=0.5)


def test_missing_points_and_frames_without_people_stay_empty() -> None:
    driving = np.stack([standing_person(240, 200, 390), np.zeros((25, 3), np.float32)])
    driving[0, 4] = 0
    fitted = retarget(driving, standing_person(120, 90, 300)[None])
    assert not fitted[0, 4].any() and not fitted[1].any()


def test_a_driver_with_too_few_points_is_not_changed() -> None:
    driving = np.zeros((2, 25, 3), np.float32)
    driving[:, 0] = 50, 60, 1
    assert np.array_equal(retarget(driving, standing_person(120, 90, 300)[None]), driving)


def test_an_example_without_hips_and_legs_is_fitted_by_its_neck() -> None:
    driving, example = np.stack([standing_person(240, 200, 390)] * 3), standing_person(120, 90, 300)
    example[[8, 9, 10, 11, 12, 13, 14, 19, 21, 22, 24]] = 0
    assert np.allclose(retarget(driving, example[None])[:, 1, :2], example[1, :2], atol=0.5)
    assert np.allclose(retarget(example[None], driving[:1])[0, 1, :2], driving[0, 1, :2], atol=0.5), "the same with the roles exchanged"


def test_examples_of_different_sizes_show_one_person_and_the_driver_is_fitted_to_the_first() -> None:
    driving = np.stack([standing_person(240, 200, 390)] * 2)
    near, far = standing_person(200, 200, 380), standing_person(100, 90, 160)
    assert np.abs(np.subtract(extent(retarget(driving, np.stack([far, near]))[0]), extent(far))).max() <= 1


def test_a_frame_without_feet_has_the_same_height_as_the_others() -> None:
    driving, example = np.stack([standing_person(240, 200, 390)] * 5), standing_person(120, 90, 300)
    example[[11, 14, 19, 21, 22, 24], 1] += 12
    driving[2, [11, 14, 19, 21, 22, 24]] = 0
    necks = retarget(driving, example[None])[:, 1, 1]
    assert np.abs(necks - necks[0]).max() < 0.5
