"""The strength of the driver's pose, expression and gaze: with strength 0, a part stays as in the example."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from heads import irises_of, lower_lips, project, with_irises

from stages.clip import open_clip
from stages.conditions.facial_motion import FacialMotion
from stages.conditions.head import AVERAGE_HEAD
from stages.conditions.motion import Motion
from stages.conditions.normalise import normalise
from stages.conditions.view import View
from stages.errors import UsageError

DRIVING = Path(__file__).resolve().parents[2] / "examples" / "driving.clip"
LIPS, BROWS, EYES, IRISES = slice(48, 68), slice(17, 27), slice(36, 48), slice(68, 78)
"""Slices of the 78 keypoints: 68 landmarks, then 10 points of the irises."""
TEMPLES_AND_BRIDGE = [0, 16, 27, 28, 29, 30]
"""Landmarks that an expression does not move."""
STILL = Motion(0, 0, 0, 0)


@pytest.fixture(scope="module")
def driver() -> np.ndarray:
    """[T, 78, 3]: the drawn driving clip of the folder examples/, a head that turns and speaks."""
    faces = open_clip(DRIVING).layer("landmarks").arrays()["points"][:, 0]
    return np.concatenate([faces, irises_of(faces)], 1)


@pytest.fixture(scope="module")
def example(driver: np.ndarray) -> np.ndarray:
    """[78, 3]: a person with a rounder face, who smiles and looks to the side."""
    face = driver[40].copy()
    face[:, :2] = (face[:, :2] - face[:, :2].mean(0)) * [1.15, 0.95] + face[:, :2].mean(0) + [9, -5]
    face[[48, 54], 1] -= 4
    face[IRISES, 0] += 2
    return face


TURN = (12.0, -24.0, 9.0)
"""A rotation vector in degrees."""
FRONTAL = with_irises([project(AVERAGE_HEAD)])[0]
TURNING = with_irises([project(AVERAGE_HEAD), project(lower_lips(0.2), turn=TURN, size=72, place=(140, 110)), project(lower_lips(0.2))])
"""Three frames: a frontal head; turned, larger, shifted and with lowered lips; frontal with lowered lips."""


def test_without_pose_a_turned_head_becomes_frontal_and_keeps_its_expression() -> None:
    result = FacialMotion(TURNING, FRONTAL).apply(Motion(pose=0))
    assert np.abs(result[1, :68, :2] - TURNING[2, :68, :2]).max() < 0.02
    assert np.abs(result[0] - FRONTAL).max() < 0.02


@pytest.mark.parametrize("strength", [0.5, 1.5, 2.0])
def test_the_strength_of_pose_scales_rotation_shift_and_the_logarithm_of_the_size(strength: float) -> None:
    result = FacialMotion(TURNING, FRONTAL).apply(Motion(mouth=0, eyes=0, gaze=0, pose=strength))
    rigid = [0, 16, 27, 28, 29, 30, 33, 36, 39, 42, 45]
    middle = 60 * AVERAGE_HEAD[rigid].mean(0)  # the centre of rotation
    shift = TURNING[1, rigid, :2].mean(0) - FRONTAL[rigid, :2].mean(0)
    expected = project(AVERAGE_HEAD - AVERAGE_HEAD[rigid].mean(0), turn=tuple(strength * np.array(TURN)), size=60 * (72 / 60) ** strength)
    assert np.abs(result[1, :68, :2] - (expected[:, :2] + middle[:2] + strength * shift)).max() < 0.05


def test_amplified_lips_move_in_the_plane_of_the_turned_head() -> None:
    result = FacialMotion(TURNING, FRONTAL).apply(Motion(mouth=2.0))
    expected = project(lower_lips(0.4), turn=TURN, size=72, place=(140, 110))
    assert np.abs(result[1, LIPS, :2] - expected[LIPS, :2]).max() < 0.05


def test_strength_0_gives_the_example_and_1_the_driver(driver: np.ndarray, example: np.ndarray) -> None:
    motion = FacialMotion(normalise(driver, example), example)
    assert np.abs(motion.apply(STILL) - example).max() < 1e-3
    assert motion.apply(Motion()).tobytes() == normalise(driver, example).tobytes()
    almost_1 = motion.apply(Motion(pose=1 - 1e-7))
    assert np.abs(almost_1 - normalise(driver, example)).max() < 1e-2, "the composed parts are the driver"


def test_parts_that_do_not_follow_the_driver_stay_as_in_the_example(driver: np.ndarray, example: np.ndarray) -> None:
    motion = FacialMotion(normalise(driver, example), example)
    mouth = motion.apply(Motion.parse(part="mouth"))
    for part in (BROWS, EYES, IRISES):
        assert np.abs(mouth[:, part] - example[part]).max() < 1e-3
    assert np.ptp(mouth[:, LIPS, :2], axis=0).max() > 4
    eyes = motion.apply(Motion.parse(part="eyes"))
    assert np.abs(eyes[:, [*range(27, 36), *range(48, 68)]] - example[[*range(27, 36), *range(48, 68)]]).max() < 1e-3
    assert np.ptp(eyes[:, EYES, :2], axis=0).max() > 2
    pose = motion.apply(Motion.parse(part="pose"))
    assert np.ptp(pose[:, TEMPLES_AND_BRIDGE, :2], axis=0).max() > 4
    views = pose[:, 17:68, :2] - pose[:, 17:68, :2].mean(1, keepdims=True)
    singular_values = np.linalg.svd(views.transpose(0, 2, 1).reshape(-1, 51), compute_uv=False)
    assert singular_values[3] < 1e-4 * singular_values[0], (
        "all frames show one rigid object, so that their matrix has rank 3 (Tomasi and Kanade)"
    )


def test_relative_motion_equals_absolute_motion_if_the_example_is_a_driving_frame(driver: np.ndarray) -> None:
    motion = FacialMotion(driver, driver[30])
    assert np.abs(motion.apply(Motion.parse(origin="relative")) - driver).max() < 1e-2


def test_relative_motion_equals_the_example_in_the_reference_frame(driver: np.ndarray, example: np.ndarray) -> None:
    fitted = normalise(driver, example)
    motion = FacialMotion(fitted, example)
    relative = Motion.parse(part="expression", origin="relative")
    moved, absolute = (motion.apply(each) for each in (relative, Motion.parse(part="expression")))
    assert np.abs(moved[motion.reference] - example).max() < 1 < np.abs(absolute[motion.reference] - example).max()
    assert np.ptp(moved[:, LIPS], axis=0).max() == pytest.approx(np.ptp(absolute[:, LIPS], axis=0).max(), abs=0.5)


def test_relative_motion_is_scaled_to_the_size_of_the_example() -> None:
    """The driver is twice as large as the example and is not fitted to it, so that all displacements are halved."""
    driver = with_irises([project(AVERAGE_HEAD, size=120), project(lower_lips(0.2), size=120, place=(168, 108))])
    result = FacialMotion(driver, FRONTAL).apply(Motion.parse(origin="relative"))
    assert np.abs(result[0] - FRONTAL).max() < 0.05
    assert np.abs(result[1, :68, :2] - project(lower_lips(0.2), place=(148, 118))[:, :2]).max() < 0.05


def test_strengths_above_1_amplify_the_motion_and_not_the_difference_between_the_two_people(
    driver: np.ndarray, example: np.ndarray
) -> None:
    fitted = normalise(driver, example)
    motion = FacialMotion(fitted, example)
    one, two = (motion.apply(Motion(mouth=strength, pose=0)) for strength in (1.0, 2.0))
    assert np.abs(two[motion.reference, LIPS] - one[motion.reference, LIPS]).max() < 1
    assert np.ptp(two[:, 57, 1]) == pytest.approx(2 * np.ptp(one[:, 57, 1]), rel=0.05)


def test_eyelids_close_in_relative_motion_even_if_the_example_has_wide_open_eyes() -> None:
    blinking, wide = AVERAGE_HEAD.copy(), AVERAGE_HEAD.copy()
    for upper, lower in ((37, 41), (38, 40), (43, 47), (44, 46)):
        blinking[upper] = blinking[lower] = (blinking[upper] + blinking[lower]) / 2
        wide[upper, 1] -= 0.05
    driver, example = with_irises([project(AVERAGE_HEAD)] * 3 + [project(blinking)]), with_irises([project(wide)])[0]
    result = FacialMotion(driver, example).apply(Motion.parse(origin="relative"))
    opening = example[40, 1] - example[38, 1]
    assert result[0, 40, 1] - result[0, 38, 1] == pytest.approx(opening, abs=0.05)
    assert abs(result[3, 40, 1] - result[3, 38, 1]) < 0.1 * opening


def test_amplified_eyelids_never_cross() -> None:
    blinking = AVERAGE_HEAD.copy()
    for upper, lower in ((37, 41), (38, 40), (43, 47), (44, 46)):
        blinking[upper] = blinking[lower] = (blinking[upper] + blinking[lower]) / 2
    driver = with_irises([project(AVERAGE_HEAD)] * 3 + [project(blinking)])
    result = FacialMotion(driver, FRONTAL).apply(Motion(eyes=2.0))
    eye_axis = result[3, 39, :2] - result[3, 36, :2]
    gaps = (result[3, [41, 40], :2] - result[3, [37, 38], :2]) @ [-eye_axis[1], eye_axis[0]] / np.linalg.norm(eye_axis)
    assert np.abs(gaps).max() < 0.02
    assert np.array_equal(result[:3], driver[:3])


def test_a_fixed_gaze_keeps_its_position_within_the_eye_while_the_head_turns() -> None:
    looking_aside = FRONTAL.copy()
    looking_aside[IRISES, 0] += 3
    result = FacialMotion(TURNING, looking_aside).apply(Motion(mouth=0, eyes=0, gaze=0))
    eye = result[1, [36, 39], :2]
    actual = (result[1, 68, :2] - eye[0]) @ (eye[1] - eye[0]) / np.square(eye[1] - eye[0]).sum()
    expected = (looking_aside[68, 0] - looking_aside[36, 0]) / (looking_aside[39, 0] - looking_aside[36, 0])
    assert actual == pytest.approx(expected, abs=0.02)


def test_missing_irises_of_the_driver_or_the_example_are_handled() -> None:
    driver = TURNING.copy()
    driver[1, IRISES] = 0
    motion = FacialMotion(driver, FRONTAL)
    assert motion.apply(Motion(mouth=0))[:, IRISES, 2].any(1).tolist() == [True, False, True]
    assert np.abs(motion.apply(STILL)[:, IRISES] - FRONTAL[IRISES]).max() < 1e-3
    without_irises = FRONTAL.copy()
    without_irises[IRISES] = 0
    assert np.abs(FacialMotion(TURNING, without_irises).apply(Motion(mouth=0, eyes=0))[:, IRISES] - TURNING[:, IRISES]).max() < 0.05


def test_frames_without_a_face_stay_empty(driver: np.ndarray, example: np.ndarray) -> None:
    with_gaps = driver[:20].copy()
    with_gaps[[0, 7]] = 0
    result = FacialMotion(with_gaps, example).apply(Motion.parse("mouth=1.3", origin="relative"))
    assert not result[[0, 7]].any() and result[1:7, :, 2].all()


def test_start_difference_describes_a_first_frame_that_differs_much_from_the_reference() -> None:
    relative = Motion.parse(origin="relative")
    turned = with_irises([project(AVERAGE_HEAD, turn=(0, 30, 0))] + [project(AVERAGE_HEAD)] * 30)
    assert "turned by 30 degrees" in FacialMotion(turned, FRONTAL).start_difference(relative)
    shouting = with_irises([project(lower_lips(0.3))] + [project(AVERAGE_HEAD)] * 30)
    assert "another expression" in FacialMotion(shouting, FRONTAL).start_difference(relative)
    assert FacialMotion(turned[1:], FRONTAL).start_difference(relative) == ""
    assert FacialMotion(turned, FRONTAL).reference > 0


def test_start_difference_ignores_parts_that_are_not_relative() -> None:
    turned = with_irises([project(AVERAGE_HEAD, turn=(0, 30, 0))] + [project(AVERAGE_HEAD)] * 30)
    shouting = with_irises([project(lower_lips(0.3))] + [project(AVERAGE_HEAD)] * 30)
    relative_pose = Motion().with_relative_pose()
    assert FacialMotion(turned, FRONTAL).start_difference(relative_pose)
    assert not FacialMotion(shouting, FRONTAL).start_difference(relative_pose)
    assert not FacialMotion(turned, FRONTAL).start_difference(Motion())


def test_the_reference_frame_does_not_depend_on_how_a_head_leans() -> None:
    """In frame 0 the driver leans like the example, but looks down; in frame 1 the head is upright and looks up like the example."""
    lean = View(cv2.getRotationMatrix2D((128, 128), -25, 1), 256, 256)
    up, down = project(AVERAGE_HEAD, turn=(10, 0, 0)), project(AVERAGE_HEAD, turn=(-20, 0, 0))
    example = lean.points(up)
    motion = FacialMotion(with_irises([lean.points(down), up]), with_irises([example])[0])
    assert motion.reference == 1
    assert np.abs(motion.apply(Motion().with_relative_pose())[1, :68] - example).max() < 0.05


def test_with_a_relative_pose_a_leaning_head_keeps_leaning_and_opens_its_mouth_like_the_driver() -> None:
    driver = with_irises([project(AVERAGE_HEAD)] * 3 + [project(lower_lips(0.2))])
    leaning = with_irises([project(AVERAGE_HEAD, turn=(0, 0, 25))])[0]
    result = FacialMotion(driver, leaning).apply(Motion().with_relative_pose())
    assert np.abs(result[0, :68] - leaning[:68]).max() < 0.05
    assert np.abs(result[3, :68] - project(lower_lips(0.2), turn=(0, 0, 25))).max() < 0.05


@pytest.mark.parametrize(
    ("strength", "part", "motion"),
    [
        ("", "", Motion()),
        ("0.5", "", Motion(0.5, 0.5, 0.5, 0.5)),
        (0.5, "", Motion(0.5, 0.5, 0.5, 0.5)),
        ("pose=0.6,mouth=1.2", "", Motion(mouth=1.2, pose=0.6)),
        (" mouth = 2 , 0.5 ", "", Motion(2, 0.5, 0.5, 0.5)),
        ("mouth=0,expression=1.5", "", Motion(mouth=0, eyes=1.5)),
        ("", "mouth", Motion(1, 0, 0, 0)),
        ("", "eyes", Motion(0, 1, 1, 0)),
        ("", "gaze, pose", Motion(0, 0, 1, 1)),
        ("", "expression", Motion(1, 1, 0, 0)),
        ("", "all", Motion()),
        ("1.5", "mouth", Motion(1.5, 0, 0, 0)),
        ("pose=0,mouth=1.5", "mouth", Motion(1.5, 0, 0, 0)),
    ],
)
def test_strengths_and_parts_are_parsed(strength: str | float, part: str, motion: Motion) -> None:
    assert Motion.parse(strength, part) == motion


@pytest.mark.parametrize(
    ("strength", "part", "message"),
    [
        ("much", "", "'much' is not a strength"),
        ("mouth=", "", "'mouth=' is not a strength"),
        ("nose=1", "", "'nose' is no part"),
        ("=1", "", "'' is no part"),
        ("2.1", "", "from 0 to 2, not 2.1"),
        ("-0.1", "", "from 0 to 2, not -0.1"),
        ("pose=nan", "", "from 0 to 2, not nan"),
        ("1,2", "", "the whole face has two strengths"),
        ("pose=1,pose=1", "", "pose has two strengths"),
        ("", "ears", "'ears' is no part"),
        ("", "mouth,", "'' is no part"),
        ("pose=0.5", "mouth", "pose has a strength, but only mouth follows"),
    ],
)
def test_wrong_strengths_and_parts_are_named(strength: str, part: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Motion.parse(strength, part)
