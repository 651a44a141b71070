"""Bodies: BODY_25, drawings of poses, mirrored poses, detector noise."""

from __future__ import annotations

import numpy as np
import pytest

from stages.conditions import poses
from stages.tables.skeletons import from_mediapipe


def standing_person(height: float = 150.0) -> np.ndarray:
    """A person [25, 3] who stands upright and is `height` pixels high from nose to heel."""
    shape = {0: (0, 0), 1: (0, 0.15), 2: (-0.1, 0.15), 3: (-0.15, 0.3), 4: (-0.15, 0.45), 5: (0.1, 0.15), 6: (0.15, 0.3), 7: (0.15, 0.45)}
    shape |= {8: (0, 0.45), 9: (-0.07, 0.45), 10: (-0.07, 0.7), 11: (-0.07, 0.95), 12: (0.07, 0.45), 13: (0.07, 0.7), 14: (0.07, 0.95)}
    shape |= {15: (-0.02, -0.02), 16: (0.02, -0.02), 19: (0.09, 1.0), 21: (0.06, 1.0), 22: (-0.09, 1.0), 24: (-0.06, 1.0)}
    person = np.zeros((25, 3), np.float32)
    for index, (x, y) in shape.items():
        person[index] = 100 + height * x, 20 + height * y, 1
    return person


def test_every_limb_has_a_colour_and_connects_two_of_the_25_points() -> None:
    assert len(poses.NAMES) == 25 and len(poses.LIMBS) == len(poses.COLOURS) == 24
    assert poses.COLOURS[0] == (153, 0, 153) and poses.COLOURS[17] == (0, 0, 153)
    assert len(set(poses.COLOURS[:18])) == 18, "limbs have different colours; those of the feet repeat the colours of the shins"
    assert {index for limb in poses.LIMBS for index in limb} == set(range(25))


def test_mirroring_swaps_left_and_right() -> None:
    swapped = [name.replace("left", "?").replace("right", "left").replace("?", "right") for name in poses.NAMES]
    assert [poses.NAMES[index] for index in poses.MIRROR] == swapped


def test_mediapipe_becomes_body_25() -> None:
    landmarks = np.ones((33, 3), np.float32)
    landmarks[11, :2], landmarks[12, :2] = (60, 40), (20, 44)
    landmarks[24, 2] = 0
    keypoints = from_mediapipe(landmarks)
    assert keypoints[1].tolist() == [40, 42, 1], "the neck is midway between the shoulders"
    assert keypoints[2].tolist() == [20, 44, 1], "left and right are not exchanged"
    assert not keypoints[8].any(), "without a right hip there is no mid hip"
    assert not keypoints[[20, 23]].any(), "MediaPipe has no small toes"


def test_limbs_are_drawn_in_their_colours() -> None:
    image = poses.draw_pose(standing_person()[None], 200, 200)
    assert image.shape == (200, 200, 3) and image.dtype == np.uint8
    assert tuple(image[round(20 + 150 * 0.3), 100]) == (153, 0, 0), "the trunk"
    assert tuple(image[round(20 + 150 * 0.82), round(100 - 150 * 0.07)]) == (0, 153, 153), "the right shin"
    assert not image[:, :60].any()


def test_the_stroke_width_is_proportional_to_the_person_even_if_the_legs_are_outside_the_image() -> None:
    def width_of_the_trunk(person: np.ndarray) -> int:
        row = poses.draw_pose(person[None], 1300, 400)[round(float(person[[1, 8], 1].mean())), 85:116]
        return int((row[:, 0] > 76).sum())

    assert 2 <= width_of_the_trunk(standing_person(150)) <= 3
    assert 14 <= width_of_the_trunk(standing_person(1200)) <= 18
    upper_body = standing_person(1200)
    upper_body[9:15] = upper_body[19:] = 0
    assert 13 <= width_of_the_trunk(upper_body) <= 18


def test_missing_and_far_away_people_are_not_drawn() -> None:
    assert not poses.draw_pose(np.zeros((2, 25, 3), np.float32), 50, 60).any()
    assert not poses.draw_pose(np.zeros((0, 25, 3), np.float32), 50, 60).any()
    person = standing_person()
    person[:, :2] += 1e7
    assert not poses.draw_pose(person[None], 50, 60).any()
    assert poses.person_height(np.zeros((25, 3), np.float32)) == 0


def test_crossing_limbs_are_drawn_in_the_mean_of_their_colours() -> None:
    person = np.zeros((1, 25, 3), np.float32)
    person[0, [1, 8]] = (20, 50, 1), (80, 50, 1)  # trunk
    person[0, [3, 4]] = (50, 20, 1), (50, 80, 1)  # a forearm across it
    image = poses.draw_pose(person, 100, 100)
    trunk, arm = (np.array(poses.COLOURS[poses.LIMBS.index(limb)]) for limb in ((1, 8), (3, 4)))
    assert np.abs(image[50, 50] - (trunk + arm) / 2).max() <= 1
    assert tuple(image[50, 35]) == tuple(trunk) and tuple(image[35, 50]) == tuple(arm)


def test_noise_drops_and_jitters_joints_and_is_the_same_for_the_same_seed() -> None:
    people = np.stack([standing_person(150)] * 200)
    noisy = poses.add_noise(people, np.random.default_rng(3))
    visible = people[..., 2] > 0
    dropped = visible & (noisy[..., 2] == 0)
    assert dropped.sum() / visible.sum() == pytest.approx(poses.DROPPED_JOINTS, abs=0.01)
    noise = (noisy - people)[visible & ~dropped][:, :2].std()
    assert noise == pytest.approx(poses.JITTER * poses.person_height(people[0]), rel=0.1)
    assert not noisy[~visible].any() and np.array_equal(noisy, poses.add_noise(people, np.random.default_rng(3)))


def whole_body() -> np.ndarray:
    """`standing_person` with a right eyebrow and a left thumb, [137, 3]."""
    body = np.zeros((137, 3), np.float32)
    body[:25] = standing_person(150)
    body[poses.FACE][17:22] = [(60 + 2 * step, 15, 1) for step in range(5)]
    body[poses.HAND_LEFT][:5] = [(125, 90 + 4 * step, 1) for step in range(5)]
    return body


def test_visible_hands_and_faces_are_drawn() -> None:
    body = whole_body()
    body_only, whole = poses.draw_pose(body[None, :25], 200, 200), poses.draw_pose(body[None], 200, 200)
    assert not body_only[15, 60:68].any() and (whole[15, 61:67] > 200).all(), "an eyebrow, white"
    assert whole[100, 125].argmax() == 0 and whole[100, 125, 0] > 150, "the thumb, red"
    layer = {"keypoints": body[None, None, :25], "face": body[None, None, poses.FACE], "hand_left": body[None, None, poses.HAND_LEFT]}
    assert np.array_equal(poses.whole_bodies(layer)[0, 0], body), "the missing right hand is 0"


def test_a_mirrored_whole_body_has_its_hands_exchanged() -> None:
    mirrored = poses.swap_sides(whole_body())
    assert np.array_equal(mirrored[poses.HAND_RIGHT], whole_body()[poses.HAND_LEFT]) and not mirrored[poses.HAND_LEFT].any()
    assert np.array_equal(poses.swap_sides(mirrored), whole_body())
