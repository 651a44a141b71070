"""Bodies: BODY_25, and what a pose looks like when it is drawn."""

from __future__ import annotations

import numpy as np
import pytest

from stages.conditions import poses
from stages.tables.skeletons import from_mediapipe


def standing(height: float = 150.0) -> np.ndarray:
    """A person [25, 3] who stands upright and is `height` pixels high from nose to heel."""
    shape = {0: (0, 0), 1: (0, 0.15), 2: (-0.1, 0.15), 3: (-0.15, 0.3), 4: (-0.15, 0.45), 5: (0.1, 0.15), 6: (0.15, 0.3), 7: (0.15, 0.45)}
    shape |= {8: (0, 0.45), 9: (-0.07, 0.45), 10: (-0.07, 0.7), 11: (-0.07, 0.95), 12: (0.07, 0.45), 13: (0.07, 0.7), 14: (0.07, 0.95)}
    shape |= {15: (-0.02, -0.02), 16: (0.02, -0.02), 19: (0.09, 1.0), 21: (0.06, 1.0), 22: (-0.09, 1.0), 24: (-0.06, 1.0)}
    person = np.zeros((25, 3), np.float32)
    for index, (x, y) in shape.items():
        person[index] = 100 + height * x, 20 + height * y, 1
    return person


def test_every_limb_has_a_colour_and_joins_two_of_the_25_points() -> None:
    assert len(poses.NAMES) == 25 and len(poses.LIMBS) == len(poses.COLOURS) == 24
    assert poses.COLOURS[0] == (153, 0, 153) and poses.COLOURS[17] == (0, 0, 153)
    assert len(set(poses.COLOURS[:18])) == 18, "the limbs of the body are told apart by colour; feet repeat the shins"
    assert {index for limb in poses.LIMBS for index in limb} == set(range(25))


def test_mirroring_swaps_left_and_right() -> None:
    swapped = [name.replace("left", "?").replace("right", "left").replace("?", "right") for name in poses.NAMES]
    assert [poses.NAMES[index] for index in poses.MIRROR] == swapped


def test_mediapipe_becomes_body_25() -> None:
    landmarks = np.ones((33, 3), np.float32)
    landmarks[11, :2], landmarks[12, :2] = (60, 40), (20, 44)
    landmarks[24, 2] = 0
    keypoints = from_mediapipe(landmarks)
    assert keypoints[1].tolist() == [40, 42, 1], "the neck is between the shoulders"
    assert keypoints[2].tolist() == [20, 44, 1], "the right shoulder is the right shoulder"
    assert not keypoints[8].any(), "without a right hip there is no middle of the hips"
    assert not keypoints[[20, 23]].any(), "MediaPipe has no small toes"


def test_limbs_are_drawn_in_their_colours() -> None:
    drawn = poses.draw_pose(standing()[None], 200, 200)
    assert drawn.shape == (200, 200, 3) and drawn.dtype == np.uint8
    assert tuple(drawn[round(20 + 150 * 0.3), 100]) == (153, 0, 0), "the trunk"
    assert tuple(drawn[round(20 + 150 * 0.82), round(100 - 150 * 0.07)]) == (0, 153, 153), "the right shin"
    assert not drawn[:, :60].any()


def test_strokes_follow_the_size_of_the_person_even_when_the_legs_leave_the_picture() -> None:
    def width_of_the_trunk(person: np.ndarray) -> int:
        row = poses.draw_pose(person[None], 1300, 400)[round(float(person[[1, 8], 1].mean())), 85:116]
        return int((row[:, 0] > 76).sum())

    assert 2 <= width_of_the_trunk(standing(150)) <= 3
    assert 14 <= width_of_the_trunk(standing(1200)) <= 18
    upper_body = standing(1200)
    upper_body[9:15] = upper_body[19:] = 0
    assert 13 <= width_of_the_trunk(upper_body) <= 18


def test_nobody_far_away_and_missing_points_are_drawn_as_nothing() -> None:
    assert not poses.draw_pose(np.zeros((2, 25, 3), np.float32), 50, 60).any()
    assert not poses.draw_pose(np.zeros((0, 25, 3), np.float32), 50, 60).any()
    person = standing()
    person[:, :2] += 1e7
    assert not poses.draw_pose(person[None], 50, 60).any()
    assert poses.person_height(np.zeros((25, 3), np.float32)) == 0


def test_where_limbs_cross_both_colours_are_seen() -> None:
    person = np.zeros((1, 25, 3), np.float32)
    person[0, [1, 8]] = (20, 50, 1), (80, 50, 1)  # trunk
    person[0, [3, 4]] = (50, 20, 1), (50, 80, 1)  # a forearm across it
    drawn = poses.draw_pose(person, 100, 100)
    trunk, arm = (np.array(poses.COLOURS[poses.LIMBS.index(limb)]) for limb in ((1, 8), (3, 4)))
    assert np.abs(drawn[50, 50] - (trunk + arm) / 2).max() <= 1
    assert tuple(drawn[50, 35]) == tuple(trunk) and tuple(drawn[35, 50]) == tuple(arm)


def test_damage_drops_and_shakes_joints_at_random_but_the_same_for_a_seed() -> None:
    people = np.stack([standing(150)] * 200)
    noisy = poses.add_noise(people, np.random.default_rng(3))
    there = people[..., 2] > 0
    dropped = there & (noisy[..., 2] == 0)
    assert dropped.sum() / there.sum() == pytest.approx(poses.DROPPED_JOINTS, abs=0.01)
    noise = (noisy - people)[there & ~dropped][:, :2].std()
    assert noise == pytest.approx(poses.JITTER * poses.person_height(people[0]), rel=0.1)
    assert not noisy[~there].any() and np.array_equal(noisy, poses.add_noise(people, np.random.default_rng(3)))


def whole_body() -> np.ndarray:
    """`standing` with a face of two eyebrow strokes and a left hand of one finger, [137, 3]."""
    body = np.zeros((137, 3), np.float32)
    body[:25] = standing(150)
    body[poses.FACE][17:22] = [(60 + 2 * step, 15, 1) for step in range(5)]
    body[poses.HAND_LEFT][:5] = [(125, 90 + 4 * step, 1) for step in range(5)]
    return body


def test_hands_and_faces_are_drawn_when_they_are_there() -> None:
    body = whole_body()
    plain, drawn = poses.draw_pose(body[None, :25], 200, 200), poses.draw_pose(body[None], 200, 200)
    assert not plain[15, 60:68].any() and (drawn[15, 61:67] > 200).all(), "an eyebrow, white"
    assert drawn[100, 125].argmax() == 0 and drawn[100, 125, 0] > 150, "the thumb, red"
    layer = {"keypoints": body[None, None, :25], "face": body[None, None, poses.FACE], "hand_left": body[None, None, poses.HAND_LEFT]}
    assert np.array_equal(poses.whole_bodies(layer)[0, 0], body), "the missing hand is empty"


def test_a_mirrored_whole_body_has_its_hands_exchanged() -> None:
    mirrored = poses.swap_sides(whole_body())
    assert np.array_equal(mirrored[poses.HAND_RIGHT], whole_body()[poses.HAND_LEFT]) and not mirrored[poses.HAND_LEFT].any()
    assert np.array_equal(poses.swap_sides(mirrored), whole_body())
