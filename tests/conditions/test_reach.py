"""Driving frames that show more than the examples do are told, with their numbers."""

from __future__ import annotations

import numpy as np
import pytest

from stages.conditions.kinds import find
from stages.conditions.poses import NAMES
from stages.conditions.reach import Reach, spans, warnings
from tests.conditions.test_appearance import turned_face


def moved(points: np.ndarray, x: float, y: float) -> np.ndarray:
    return np.where(points[:, 2:] > 0, points + np.array([x, y, 0], np.float32), points)


def body(orientation: float = 1.0, x: float = 60) -> np.ndarray:
    """A person of 100 pixels' trunk from head to feet; orientation 1 faces the camera, -1 turns the back to it."""
    points = np.zeros((25, 3), np.float32)
    half = 35 * orientation
    where = {"nose": (0, 0), "neck": (0, 20), "mid hip": (0, 120), "right shoulder": (-half, 20), "left shoulder": (half, 20)}
    for name, (across, down) in (where | {"right ankle": (-10, 280), "left ankle": (10, 280)}).items():
        points[NAMES.index(name)] = (x + across, down + 10, 1)
    return points


@pytest.mark.parametrize(
    ("angles", "told"),
    [((0, 20, 0), []), ((0, 35, 0), ["turned"]), ((0, -35, 0), ["turned"]), ((30, 0, 0), ["tilted"]), ((0, 0, 40), [])],
)
def test_a_head_is_compared_with_the_example(angles, told):
    assert Reach(find("landmarks").pose, [turned_face(0, 0, 0)]).beyond(turned_face(*angles)) == told


def test_the_nearest_of_several_examples_counts():
    assert Reach(find("landmarks+iris").pose, [turned_face(0, 0, 0), turned_face(0, 30, 0)]).beyond(turned_face(0, 40, 0)) == []


def test_a_face_that_moves_by_more_than_its_width_is_far_away():
    face = turned_face(0, 0, 0)
    width = np.ptp(face[:17, 0])
    reach = Reach(find("landmarks").pose, [face])
    assert reach.beyond(moved(face, 0.9 * width, 0)) == [] and reach.beyond(moved(face, 0, 1.1 * width)) == ["moved"]


def test_bodies_are_compared_by_their_side_and_place():
    reach = Reach(find("poses").pose, [body()])
    assert reach.beyond(body(0.8)) == []
    assert reach.beyond(body(-1.0)) == ["turned"]
    assert reach.beyond(body(x=500)) == ["moved"]


def test_label_maps_are_never_beyond():
    assert Reach(find("segment").pose, [np.zeros((8, 3), np.float32)]).beyond(np.ones((8, 3), np.float32)) == []


def test_the_frames_are_named():
    (text,) = warnings({"turned": [3, 4, 5, 9]}, total=40)
    assert "turned to the side" in text and "4 of 40 frames (3-5, 9)" in text
    assert spans([0]) == "0" and spans([*range(0, 20, 2)]) == "0, 2, 4, 6, 8, ..."
