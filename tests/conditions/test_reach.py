"""Warnings name the driving frames whose pose is beyond that of the examples."""

from __future__ import annotations

import numpy as np
import pytest

from stages.conditions.kinds import find_kind
from stages.conditions.poses import NAMES
from stages.conditions.reach import Reach, spans, warnings
from tests.conditions.test_appearance import rotated_face


def shift(points: np.ndarray, x: float, y: float) -> np.ndarray:
    """Move the visible ones of the points [N, 3] by (x, y)."""
    return np.where(points[:, 2:] > 0, points + np.array([x, y, 0], np.float32), points)


def body(orientation: float = 1.0, x: float = 60) -> np.ndarray:
    """A person [25, 3] with a trunk of 100 pixels. orientation: 1 faces the camera, -1 shows the back."""
    points = np.zeros((25, 3), np.float32)
    half = 35 * orientation
    positions = {"nose": (0, 0), "neck": (0, 20), "mid hip": (0, 120), "right shoulder": (-half, 20), "left shoulder": (half, 20)}
    for name, (across, down) in (positions | {"right ankle": (-10, 280), "left ankle": (10, 280)}).items():
        points[NAMES.index(name)] = (x + across, down + 10, 1)
    return points


@pytest.mark.parametrize(
    ("angles", "expected"),
    [((0, 20, 0), []), ((0, 35, 0), ["turned"]), ((0, -35, 0), ["turned"]), ((30, 0, 0), ["tilted"]), ((0, 0, 40), [])],
)
def test_a_head_is_compared_with_the_example(angles, expected):
    assert Reach(find_kind("landmarks").pose, [rotated_face(0, 0, 0)]).beyond(rotated_face(*angles)) == expected


def test_the_most_similar_of_several_examples_counts():
    assert Reach(find_kind("landmarks+iris").pose, [rotated_face(0, 0, 0), rotated_face(0, 30, 0)]).beyond(rotated_face(0, 40, 0)) == []


def test_a_face_that_moves_by_more_than_its_width_is_beyond_the_example():
    face = rotated_face(0, 0, 0)
    width = np.ptp(face[:17, 0])
    reach = Reach(find_kind("landmarks").pose, [face])
    assert reach.beyond(shift(face, 0.9 * width, 0)) == [] and reach.beyond(shift(face, 0, 1.1 * width)) == ["moved"]


def test_bodies_are_compared_by_orientation_and_position():
    reach = Reach(find_kind("poses").pose, [body()])
    assert reach.beyond(body(0.8)) == []
    assert reach.beyond(body(-1.0)) == ["turned"]
    assert reach.beyond(body(x=500)) == ["moved"]


def test_label_maps_are_never_beyond_the_examples():
    assert Reach(find_kind("segment").pose, [np.zeros((8, 3), np.float32)]).beyond(np.ones((8, 3), np.float32)) == []


def test_a_warning_lists_the_frames():
    (text,) = warnings({"turned": [3, 4, 5, 9]}, total=40)
    assert "turned to the side" in text and "4 of 40 frames (3-5, 9)" in text
    assert spans([0]) == "0" and spans([*range(0, 20, 2)]) == "0, 2, 4, 6, 8, ..."
