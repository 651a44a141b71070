"""A driving body keeps the example's proportions and place, whatever the driver's are."""

from __future__ import annotations

import numpy as np
import pytest

from stages.conditions import poses
from stages.conditions.retarget import retarget

SHAPE = {0: (0, 0), 1: (0, 0.15), 2: (-0.1, 0.15), 3: (-0.15, 0.3), 4: (-0.15, 0.45), 5: (0.1, 0.15), 6: (0.15, 0.3), 7: (0.15, 0.45)}
SHAPE |= {8: (0, 0.45), 9: (-0.07, 0.45), 10: (-0.07, 0.7), 11: (-0.07, 0.95), 12: (0.07, 0.45), 13: (0.07, 0.7), 14: (0.07, 0.95)}
SHAPE |= {15: (-0.02, -0.02), 16: (0.02, -0.02), 19: (0.09, 1.0), 21: (0.06, 1.0), 22: (-0.09, 1.0), 24: (-0.06, 1.0)}


def standing(height: float, x: float, ground: float) -> np.ndarray:
    """A person [25, 3] who stands upright at `x` on `ground` and is `height` pixels high from nose to sole."""
    person = np.zeros((25, 3), np.float32)
    for index, (right, down) in SHAPE.items():
        person[index] = x + height * right, ground - height * (1 - down), 1
    return person


def waving(frames: int, height: float, x: float, ground: float) -> np.ndarray:
    """The same person [T, 25, 3] who turns his right forearm round the elbow."""
    people = np.stack([standing(height, x, ground)] * frames)
    for person, angle in zip(people, np.linspace(0, np.pi, frames), strict=True):
        person[4, :2] = person[3, :2] + 0.15 * height * np.array([-np.sin(angle), np.cos(angle)])
    return people


def place(body: np.ndarray) -> tuple[float, float, float]:
    """Left, right and lowest of a drawing."""
    rows, columns = np.nonzero(poses.draw_pose(body[None], 400, 400).any(-1))
    return columns.min(), columns.max(), rows.max()


def test_a_driver_twice_as_tall_and_off_centre_is_drawn_as_large_as_the_example_and_where_he_stands() -> None:
    example = standing(height=120, x=90, ground=300)
    driving = np.stack([standing(height=240, x=290, ground=390)] * 3)
    fitted = retarget(driving, example[None])
    for body in fitted:
        assert np.abs(np.subtract(place(body), place(example))).max() <= 1
        drawn, wanted = (poses.draw_pose(one[None], 400, 400).astype(int) for one in (body, example))
        assert np.abs(drawn - wanted).mean() < 0.5


def test_the_movement_is_the_drivers() -> None:
    driving = waving(frames=12, height=240, x=290, ground=390)
    fitted = retarget(driving, standing(height=120, x=90, ground=300)[None])
    theirs, ours = (np.arctan2(*(body[:, 4, :2] - body[:, 3, :2]).T) for body in (driving, fitted))
    assert np.allclose(theirs, ours, atol=1e-4)


def test_limbs_get_the_examples_lengths() -> None:
    example = standing(height=120, x=90, ground=300)
    example[[10, 13], 1] += 10  # longer thighs: the knees lower, the feet with them
    example[[11, 14, 19, 21, 22, 24], 1] += 10
    fitted = retarget(np.stack([standing(height=200, x=200, ground=380)] * 2), example[None])
    thigh = np.linalg.norm(fitted[0, 10, :2] - fitted[0, 9, :2])
    assert thigh == pytest.approx(np.linalg.norm(example[10, :2] - example[9, :2]), rel=0.02)
    assert place(fitted[0])[2] == pytest.approx(place(example)[2], abs=1)


def test_a_jump_leaves_the_ground_by_as_many_legs_as_the_drivers() -> None:
    driving = np.stack([standing(240, 200, 390)] * 9 + [standing(240, 200, 340)])
    fitted = retarget(driving, standing(120, 90, 300)[None])
    feet = fitted[:, [11, 14, 19, 21, 22, 24], 1].max(1)
    assert feet[0] == pytest.approx(300, abs=0.5) and feet[9] == pytest.approx(275, abs=0.5)


def test_steps_to_the_side_are_scaled_around_the_examples_place() -> None:
    driving = np.stack([standing(240, 200 + 20 * step, 390) for step in (-1, 0, 1)])
    fitted = retarget(driving, standing(120, 90, 300)[None])
    assert fitted[:, 8, 0] == pytest.approx([80, 90, 100], abs=0.5)


def test_upper_bodies_are_matched_by_their_trunks() -> None:
    driving, example = standing(240, 200, 390), standing(120, 90, 300)
    for body in (driving, example):
        body[[10, 11, 13, 14, 19, 21, 22, 24]] = 0
    fitted = retarget(driving[None], example[None])[0]
    assert np.allclose(fitted, example, atol=0.5)


def test_missing_points_stay_missing_and_frames_without_anybody_empty() -> None:
    driving = np.stack([standing(240, 200, 390), np.zeros((25, 3), np.float32)])
    driving[0, 4] = 0
    fitted = retarget(driving, standing(120, 90, 300)[None])
    assert not fitted[0, 4].any() and not fitted[1].any()


def test_without_anything_in_common_nothing_changes() -> None:
    driving = np.zeros((2, 25, 3), np.float32)
    driving[:, 0] = 50, 60, 1
    assert np.array_equal(retarget(driving, standing(120, 90, 300)[None]), driving)


def test_an_upper_body_as_example_is_hung_up_by_its_neck() -> None:
    driving, example = np.stack([standing(240, 200, 390)] * 3), standing(120, 90, 300)
    example[[8, 9, 10, 11, 12, 13, 14, 19, 21, 22, 24]] = 0
    assert np.allclose(retarget(driving, example[None])[:, 1, :2], example[1, :2], atol=0.5)
    assert np.allclose(retarget(example[None], driving[:1])[0, 1, :2], driving[0, 1, :2], atol=0.5), "and the other way round"


def test_examples_from_farther_and_nearer_are_one_person() -> None:
    driving = np.stack([standing(240, 200, 390)] * 2)
    near, far = standing(200, 200, 380), standing(100, 90, 160)
    assert np.abs(np.subtract(place(retarget(driving, np.stack([far, near]))[0]), place(far))).max() <= 1


def test_a_frame_that_hides_the_feet_stays_where_the_others_are() -> None:
    driving, example = np.stack([standing(240, 200, 390)] * 5), standing(120, 90, 300)
    example[[11, 14, 19, 21, 22, 24], 1] += 12
    driving[2, [11, 14, 19, 21, 22, 24]] = 0
    necks = retarget(driving, example[None])[:, 1, 1]
    assert np.abs(necks - necks[0]).max() < 0.5
