"""A driver's expression on a face that keeps its own pose: `--retarget`."""

from __future__ import annotations

import numpy as np
import pytest
from heads import lower_lips, project, with_irises

from stages.conditions.expression import find_reference, with_expression
from stages.conditions.head import AVERAGE_HEAD
from stages.conditions.landmarks import eye_distance
from stages.conditions.motion import Motion
from stages.conditions.tracks import Moments

RELATIVE = Motion.parse(origin="relative")
LIPS, TEMPLES_AND_BRIDGE = slice(48, 68), [0, 16, 27, 28, 29, 30]
TURNS = [(0, angle, 0) for angle in (-20, -10, 0, 10, 20)]
FILM = with_irises([project(AVERAGE_HEAD, turn=turn, size=50, place=(140, 120)) for turn in TURNS])
"""A silent person of a film who looks from one side to the other."""


def open_mouth(by: float) -> np.ndarray:
    """The average head with a mouth that is open by `by` eye distances."""
    head = AVERAGE_HEAD.copy()
    head[[*range(55, 60), 65, 66, 67], 1] += by
    return head


def openings(faces: np.ndarray) -> np.ndarray:
    """The opening of the mouth in faces [T, 78, 3]: float [T], in eye distances."""
    return np.asarray(np.linalg.norm(faces[:, 66, :2] - faces[:, 62, :2], axis=1) / eye_distance(faces[:, :68]))


def test_the_mouth_moves_as_the_drivers_and_the_pose_stays_that_of_the_film():
    driver = with_irises([project(open_mouth(by), size=70) for by in (0, 0.1, 0.2, 0.1, 0)])
    made = with_expression(FILM, driver, RELATIVE, proportions=True)
    assert np.abs(made[:, TEMPLES_AND_BRIDGE] - FILM[:, TEMPLES_AND_BRIDGE]).max() < 0.05
    assert openings(made) - openings(made)[0] == pytest.approx([0, 0.1, 0.2, 0.1, 0], abs=0.01)


def test_strength_0_does_not_change_the_film():
    driver = with_irises([project(open_mouth(by), size=70) for by in (0, 0.1, 0.2, 0.1, 0)])
    assert np.abs(with_expression(FILM, driver, Motion.parse(0, origin="relative"), proportions=True) - FILM).max() < 1e-3


def test_at_strength_1_the_mouth_of_the_film_has_no_influence():
    """At strength 0.5 both mouths have an influence."""
    speaking = with_irises([project(open_mouth(by), size=50) for by in (0, 0.2, 0, 0.2, 0)])
    silent = with_irises([project(AVERAGE_HEAD, size=70)] * 5)
    made, half = (with_expression(speaking, silent, Motion.parse(s, origin="relative"), proportions=True) for s in (1, 0.5))
    assert np.ptp(openings(made)) < 0.01
    assert np.ptp(openings(half)) == pytest.approx(0.1, abs=0.01)


def test_eyes_that_are_shut_in_the_film_stay_shut():
    """No frame shows what is behind the lids."""
    film, driver = FILM.copy(), with_irises([project(AVERAGE_HEAD, size=70)] * 5)
    for upper, lower in ((37, 41), (38, 40), (43, 47), (44, 46)):
        film[3, upper] = film[3, lower]
    made = with_expression(film, driver, RELATIVE, proportions=True)
    gaps = np.abs(made[:, [41, 47], 1] - made[:, [37, 43], 1]).max(1)
    assert gaps[3] < 0.5 and gaps[[0, 1, 2, 4]].min() > 3


def test_only_the_parts_that_follow_change():
    driver = with_irises([project(lower_lips(0.2), size=70)] + [project(AVERAGE_HEAD, size=70)] * 4)
    driver[0, 17:27, 1] -= 6  # raised brows
    made = with_expression(FILM, driver, Motion.parse(part="eyes", origin="relative"), proportions=True)
    assert np.abs(made[0, LIPS] - FILM[0, LIPS]).max() < 1e-3 and (FILM[0, 17:27, 1] - made[0, 17:27, 1]).min() > 2


def test_gaze_is_relative_to_the_usual_gaze_of_each_person():
    """The person of the film always looks aside. The driver does so in one frame."""
    film, driver = FILM.copy(), with_irises([project(AVERAGE_HEAD, size=50)] * 5)
    film[:, 68:, 0] += 2
    driver[4, 68:, 0] += 3
    made = with_expression(film, driver, RELATIVE, proportions=True)
    assert np.abs(made[:4, 68:] - film[:4, 68:]).max() < 0.5
    assert (made[4, 68:, 0] - film[4, 68:, 0]).mean() == pytest.approx(3 * np.cos(np.radians(20)), abs=0.3)


def test_frames_are_compared_by_expression_and_not_by_the_position_of_the_face():
    film = with_irises([project(open_mouth(by), turn=(0, 20 * (by == 0), 0), size=50) for by in (0.2, 0.1, 0)])
    driver = with_irises([project(open_mouth(by), size=90, place=(10, 200)) for by in (0.3, 0.1, 0.4, 0.5)])
    own, weights = find_reference(film, driver)
    assert own == 1 and weights.argmax() == 1 and weights.sum() == pytest.approx(1)


def test_frames_without_a_face_stay_empty():
    film, driver = FILM.copy(), with_irises([project(AVERAGE_HEAD, size=70)] * 5)
    film[1] = 0
    made = with_expression(film, driver, RELATIVE, proportions=True)
    assert not made[1].any() and made[[0, 2, 3, 4], :68, 2].all()


def test_points_are_interpolated_between_two_frames():
    points = np.array([[[0, 0, 1], [5, 5, 1]], [[10, 20, 1], [0, 0, 0]]], np.float32)
    moments = Moments(np.array([0, 0, 1]), np.array([1, 1, 1]), np.array([0.0, 0.25, 0.0]))
    assert moments.of(points)[:, 0, :2].tolist() == [[0, 0], [2.5, 5], [10, 20]]
    assert moments.of(points)[1, 1].tolist() == [5, 5, 1], "a point that is missing in one of the two frames"
