"""The driver's pose, expression and gaze, each made weaker or stronger: a part of strength 0 stays the example's."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from stages.clip import open_clip
from stages.conditions.facial_motion import FacialMotion
from stages.conditions.head import AVERAGE_HEAD
from stages.conditions.landmarks import eye_distance
from stages.conditions.motion import Motion
from stages.conditions.normalise import normalise
from stages.conditions.view import View
from stages.errors import UsageError

DRIVING = Path(__file__).resolve().parents[2] / "examples" / "driving.clip"
LIPS, BROWS, EYES, IRISES = slice(48, 68), slice(17, 27), slice(36, 48), slice(68, 78)
TEMPLES_AND_BRIDGE = [0, 16, 27, 28, 29, 30]
STILL = Motion(0, 0, 0, 0)


def irises_of(faces: np.ndarray) -> np.ndarray:
    """Discs [T, 10, 3] in the middle of the eyes of faces [T, 68, 3]."""
    ends = 0.08 * eye_distance(faces)[:, None, None] * np.array([(0, 0), (1, 0), (0, -1), (-1, 0), (0, 1)])
    eyes = [faces[:, [left, right], :2].mean(1, keepdims=True) + ends for left, right in ((36, 39), (42, 45))]
    return np.concatenate([np.concatenate(eyes, 1), np.ones((len(faces), 10, 1))], -1).astype(np.float32)


@pytest.fixture(scope="module")
def driver() -> np.ndarray:
    """[T, 78, 3]: the drawn driver of the examples, whose head turns and whose mouth speaks."""
    faces = open_clip(DRIVING).layer("landmarks").arrays()["points"][:, 0]
    return np.concatenate([faces, irises_of(faces)], 1)


@pytest.fixture(scope="module")
def example(driver: np.ndarray) -> np.ndarray:
    """[78, 3]: another person with a rounder face, who looks aside and smiles."""
    face = driver[40].copy()
    face[:, :2] = (face[:, :2] - face[:, :2].mean(0)) * [1.15, 0.95] + face[:, :2].mean(0) + [9, -5]
    face[[48, 54], 1] -= 4
    face[IRISES, 0] += 2
    return face


def seen(points: np.ndarray, *, turn: tuple[float, float, float] = (0, 0, 0), size: float = 60, place: tuple[float, float] = (128, 128)):
    """Points [N, 3] in space as an image shows them, [N, 3] with confidences. turn: a rotation vector in degrees; size: of one unit."""
    rotation = cv2.Rodrigues(np.radians(np.array(turn, float)))[0]
    return np.column_stack([size * (points @ rotation.T)[:, :2] + place, np.ones(len(points))]).astype(np.float32)


def with_irises(faces: list[np.ndarray]) -> np.ndarray:
    stacked = np.stack(faces)
    return np.concatenate([stacked, irises_of(stacked)], 1)


def pouting(by: float) -> np.ndarray:
    """The average head, whose lips have moved down by so many eye distances."""
    head = AVERAGE_HEAD.copy()
    head[LIPS, 1] += by
    return head


TURN = (12.0, -24.0, 9.0)
FRONTAL = with_irises([seen(AVERAGE_HEAD)])[0]
TURNING = with_irises([seen(AVERAGE_HEAD), seen(pouting(0.2), turn=TURN, size=72, place=(140, 110)), seen(pouting(0.2))])
"""A frontal head, then one that is turned, nearer and elsewhere, with other lips, then these lips alone."""


def test_a_turned_head_is_turned_back_and_its_lips_stay_as_they_are() -> None:
    made = FacialMotion(TURNING, FRONTAL).apply(Motion(pose=0))
    assert np.abs(made[1, :68, :2] - TURNING[2, :68, :2]).max() < 0.02
    assert np.abs(made[0] - FRONTAL).max() < 0.02


@pytest.mark.parametrize("strength", [0.5, 1.5, 2.0])
def test_a_pose_of_half_strength_is_half_the_turn_half_the_way_and_half_the_approach(strength: float) -> None:
    made = FacialMotion(TURNING, FRONTAL).apply(Motion(mouth=0, eyes=0, gaze=0, pose=strength))
    rigid = [0, 16, 27, 28, 29, 30, 33, 36, 39, 42, 45]
    middle = 60 * AVERAGE_HEAD[rigid].mean(0)  # the head turns around it
    moved = TURNING[1, rigid, :2].mean(0) - FRONTAL[rigid, :2].mean(0)
    wanted = seen(AVERAGE_HEAD - AVERAGE_HEAD[rigid].mean(0), turn=tuple(strength * np.array(TURN)), size=60 * (72 / 60) ** strength)
    assert np.abs(made[1, :68, :2] - (wanted[:, :2] + middle[:2] + strength * moved)).max() < 0.05


def test_lips_that_move_twice_as_far_do_so_in_the_plane_of_the_head() -> None:
    made = FacialMotion(TURNING, FRONTAL).apply(Motion(mouth=2.0))
    wanted = seen(pouting(0.4), turn=TURN, size=72, place=(140, 110))
    assert np.abs(made[1, LIPS, :2] - wanted[LIPS, :2]).max() < 0.05


def test_strength_0_is_the_example_and_1_the_driver(driver: np.ndarray, example: np.ndarray) -> None:
    motion = FacialMotion(normalise(driver, example), example)
    assert np.abs(motion.apply(STILL) - example).max() < 1e-3
    assert motion.apply(Motion()).tobytes() == normalise(driver, example).tobytes()
    nearly = motion.apply(Motion(pose=1 - 1e-7))
    assert np.abs(nearly - normalise(driver, example)).max() < 1e-2, "the parts together are the driver"


def test_parts_that_do_not_follow_stay_the_examples_while_the_others_move(driver: np.ndarray, example: np.ndarray) -> None:
    motion = FacialMotion(normalise(driver, example), example)
    mouth = motion.apply(Motion.parse(part="mouth"))
    for still in (BROWS, EYES, IRISES):
        assert np.abs(mouth[:, still] - example[still]).max() < 1e-3
    assert np.ptp(mouth[:, LIPS, :2], axis=0).max() > 4
    eyes = motion.apply(Motion.parse(part="eyes"))
    assert np.abs(eyes[:, [*range(27, 36), *range(48, 68)]] - example[[*range(27, 36), *range(48, 68)]]).max() < 1e-3
    assert np.ptp(eyes[:, EYES, :2], axis=0).max() > 2
    pose = motion.apply(Motion.parse(part="pose"))
    assert np.ptp(pose[:, TEMPLES_AND_BRIDGE, :2], axis=0).max() > 4
    views = pose[:, 17:68, :2] - pose[:, 17:68, :2].mean(1, keepdims=True)
    sizes = np.linalg.svd(views.transpose(0, 2, 1).reshape(-1, 51), compute_uv=False)
    assert sizes[3] < 1e-4 * sizes[0], "all frames show one rigid thing in space: their matrix has rank 3 (Tomasi and Kanade)"


def test_relative_and_absolute_motion_are_one_where_the_example_is_of_the_driver(driver: np.ndarray) -> None:
    motion = FacialMotion(driver, driver[30])
    assert np.abs(motion.apply(Motion.parse(origin="relative")) - driver).max() < 1e-2


def test_relative_motion_starts_from_the_example_at_the_frames_that_are_most_like_it(driver: np.ndarray, example: np.ndarray) -> None:
    fitted = normalise(driver, example)
    motion = FacialMotion(fitted, example)
    relative = Motion.parse(part="expression", origin="relative")
    moved, absolute = (motion.apply(each) for each in (relative, Motion.parse(part="expression")))
    assert np.abs(moved[motion.reference] - example).max() < 1 < np.abs(absolute[motion.reference] - example).max()
    assert np.ptp(moved[:, LIPS], axis=0).max() == pytest.approx(np.ptp(absolute[:, LIPS], axis=0).max(), abs=0.5)


def test_relative_motion_has_the_examples_size() -> None:
    """A driver of twice the example's size, not fitted to it: steps and displacements are halved."""
    driver = with_irises([seen(AVERAGE_HEAD, size=120), seen(pouting(0.2), size=120, place=(168, 108))])
    made = FacialMotion(driver, FRONTAL).apply(Motion.parse(origin="relative"))
    assert np.abs(made[0] - FRONTAL).max() < 0.05
    assert np.abs(made[1, :68, :2] - seen(pouting(0.2), place=(148, 118))[:, :2]).max() < 0.05


def test_beyond_1_the_motion_grows_and_not_what_tells_the_persons_apart(driver: np.ndarray, example: np.ndarray) -> None:
    fitted = normalise(driver, example)
    motion = FacialMotion(fitted, example)
    one, two = (motion.apply(Motion(mouth=strength, pose=0)) for strength in (1.0, 2.0))
    assert np.abs(two[motion.reference, LIPS] - one[motion.reference, LIPS]).max() < 1
    assert np.ptp(two[:, 57, 1]) == pytest.approx(2 * np.ptp(one[:, 57, 1]), rel=0.05)


def test_lids_close_in_relative_motion_however_wide_the_examples_eyes_are() -> None:
    blinking, wide = AVERAGE_HEAD.copy(), AVERAGE_HEAD.copy()
    for upper, lower in ((37, 41), (38, 40), (43, 47), (44, 46)):
        blinking[upper] = blinking[lower] = (blinking[upper] + blinking[lower]) / 2
        wide[upper, 1] -= 0.05
    driver, example = with_irises([seen(AVERAGE_HEAD)] * 3 + [seen(blinking)]), with_irises([seen(wide)])[0]
    made = FacialMotion(driver, example).apply(Motion.parse(origin="relative"))
    opening = example[40, 1] - example[38, 1]
    assert made[0, 40, 1] - made[0, 38, 1] == pytest.approx(opening, abs=0.05)
    assert abs(made[3, 40, 1] - made[3, 38, 1]) < 0.1 * opening


def test_lids_meet_and_never_pass_each_other() -> None:
    blinking = AVERAGE_HEAD.copy()
    for upper, lower in ((37, 41), (38, 40), (43, 47), (44, 46)):
        blinking[upper] = blinking[lower] = (blinking[upper] + blinking[lower]) / 2
    driver = with_irises([seen(AVERAGE_HEAD)] * 3 + [seen(blinking)])
    made = FacialMotion(driver, FRONTAL).apply(Motion(eyes=2.0))
    across = made[3, 39, :2] - made[3, 36, :2]
    gaps = (made[3, [41, 40], :2] - made[3, [37, 38], :2]) @ [-across[1], across[0]] / np.linalg.norm(across)
    assert np.abs(gaps).max() < 0.02
    assert np.array_equal(made[:3], driver[:3])


def test_a_gaze_stays_in_the_eye_while_the_head_turns() -> None:
    looking = FRONTAL.copy()
    looking[IRISES, 0] += 3
    made = FacialMotion(TURNING, looking).apply(Motion(mouth=0, eyes=0, gaze=0))
    eye = made[1, [36, 39], :2]
    across = (made[1, 68, :2] - eye[0]) @ (eye[1] - eye[0]) / np.square(eye[1] - eye[0]).sum()
    own = (looking[68, 0] - looking[36, 0]) / (looking[39, 0] - looking[36, 0])
    assert across == pytest.approx(own, abs=0.02)


def test_the_examples_irises_are_kept_where_the_driver_has_none_and_the_gaze_is_the_examples() -> None:
    driver = TURNING.copy()
    driver[1, IRISES] = 0
    motion = FacialMotion(driver, FRONTAL)
    assert motion.apply(Motion(mouth=0))[:, IRISES, 2].any(1).tolist() == [True, False, True]
    assert np.abs(motion.apply(STILL)[:, IRISES] - FRONTAL[IRISES]).max() < 1e-3
    bare = FRONTAL.copy()
    bare[IRISES] = 0
    assert np.abs(FacialMotion(TURNING, bare).apply(Motion(mouth=0, eyes=0))[:, IRISES] - TURNING[:, IRISES]).max() < 0.05


def test_frames_without_a_face_stay_empty(driver: np.ndarray, example: np.ndarray) -> None:
    gappy = driver[:20].copy()
    gappy[[0, 7]] = 0
    made = FacialMotion(gappy, example).apply(Motion.parse("mouth=1.3", origin="relative"))
    assert not made[[0, 7]].any() and made[1:7, :, 2].all()


def test_a_first_frame_that_is_far_from_the_reference_is_told() -> None:
    relative = Motion.parse(origin="relative")
    turned = with_irises([seen(AVERAGE_HEAD, turn=(0, 30, 0))] + [seen(AVERAGE_HEAD)] * 30)
    assert "turned by 30 degrees" in FacialMotion(turned, FRONTAL).start_difference(relative)
    shouting = with_irises([seen(pouting(0.3))] + [seen(AVERAGE_HEAD)] * 30)
    assert "another expression" in FacialMotion(shouting, FRONTAL).start_difference(relative)
    assert FacialMotion(turned[1:], FRONTAL).start_difference(relative) == ""
    assert FacialMotion(turned, FRONTAL).reference > 0


def test_only_what_is_measured_from_the_reference_is_far_from_it() -> None:
    turned = with_irises([seen(AVERAGE_HEAD, turn=(0, 30, 0))] + [seen(AVERAGE_HEAD)] * 30)
    shouting = with_irises([seen(pouting(0.3))] + [seen(AVERAGE_HEAD)] * 30)
    pose = Motion().with_relative_pose()
    assert FacialMotion(turned, FRONTAL).start_difference(pose) and not FacialMotion(shouting, FRONTAL).start_difference(pose)
    assert not FacialMotion(turned, FRONTAL).start_difference(Motion())


def test_the_reference_does_not_depend_on_how_a_head_leans() -> None:
    """The driver looks up with an upright head, and once leans as the photograph does while it looks down."""
    lean = View(cv2.getRotationMatrix2D((128, 128), -25, 1), 256, 256)
    up, down = seen(AVERAGE_HEAD, turn=(10, 0, 0)), seen(AVERAGE_HEAD, turn=(-20, 0, 0))
    example = lean.points(up)
    motion = FacialMotion(with_irises([lean.points(down), up]), with_irises([example])[0])
    assert motion.reference == 1
    assert np.abs(motion.apply(Motion().with_relative_pose())[1, :68] - example).max() < 0.05


def test_in_a_photograph_the_pose_is_relative_and_the_expression_the_drivers() -> None:
    """An upright driver and a head that leans by 25 degrees: it keeps leaning, and its mouth opens as the driver's does."""
    driver = with_irises([seen(AVERAGE_HEAD)] * 3 + [seen(pouting(0.2))])
    leaning = with_irises([seen(AVERAGE_HEAD, turn=(0, 0, 25))])[0]
    made = FacialMotion(driver, leaning).apply(Motion().with_relative_pose())
    assert np.abs(made[0, :68] - leaning[:68]).max() < 0.05
    assert np.abs(made[3, :68] - seen(pouting(0.2), turn=(0, 0, 25))).max() < 0.05


@pytest.mark.parametrize(
    ("strength", "part", "wanted"),
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
def test_what_users_write(strength: str | float, part: str, wanted: Motion) -> None:
    assert Motion.parse(strength, part) == wanted


@pytest.mark.parametrize(
    ("strength", "part", "told"),
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
def test_what_they_should_not(strength: str, part: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        Motion.parse(strength, part)
