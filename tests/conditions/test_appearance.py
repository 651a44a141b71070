"""Places on the appearance map: turned heads and bodies lie where one expects them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from stages.conditions.appearance import _HEAD_MODEL, _RIGID_LANDMARKS, body_coordinates, head_angles
from stages.conditions.kinds import find
from stages.conditions.poses import NAMES


def turned_face(pitch: float, yaw: float, roll: float) -> np.ndarray:
    """Landmarks of the generic head, seen from far away after turns in degrees; the points that move with the mouth are left at 0."""
    to_the_right, down, lean = (np.radians(value) for value in (-yaw, pitch, roll))
    turn = (
        cv2.Rodrigues(np.array([0, 0, lean]))[0]
        @ cv2.Rodrigues(np.array([0, to_the_right, 0]))[0]
        @ cv2.Rodrigues(np.array([down, 0, 0]))[0]
    )
    points = np.zeros((68, 3), np.float32)
    points[:, 2] = 1
    points[_RIGID_LANDMARKS, :2] = (_HEAD_MODEL @ turn.T)[:, :2] * 6 + 128
    points[1:16, :2] = np.linspace(points[0, :2], points[16, :2], 17)[1:16]
    return points


@pytest.mark.parametrize("angles", [(0, 0, 0), (0, 30, 0), (0, -30, 0), (20, 0, 0), (-20, 0, 0), (0, 0, 25), (10, 20, 0)])
def test_the_angles_of_a_turned_head_are_found(angles):
    found = head_angles(turned_face(*angles))
    assert np.allclose(found, angles, atol=6)


def test_the_mouth_does_not_turn_the_head():
    face = turned_face(0, 10, 0)
    before = head_angles(face)
    face[48:, :2] += 30
    assert head_angles(face) == before


def test_bodies_are_told_apart_by_their_side_and_their_hands():
    body = np.zeros((25, 3), np.float32)
    where = {"neck": (50, 20), "mid hip": (50, 70), "right shoulder": (32, 20), "left shoulder": (68, 20)}
    where |= {"right wrist": (20, 60), "left wrist": (80, 60)}
    for name, place in where.items():
        body[NAMES.index(name)] = (*place, 1)
    front = body_coordinates(body)
    assert front[0] > 0.9 and front[1] == pytest.approx(-0.8)

    behind = body.copy()
    behind[[NAMES.index("right shoulder"), NAMES.index("left shoulder")]] = body[
        [NAMES.index("left shoulder"), NAMES.index("right shoulder")]
    ]
    assert body_coordinates(behind)[0] == pytest.approx(-front[0])
    body[[NAMES.index("right wrist"), NAMES.index("left wrist")], 1] = -5
    assert body_coordinates(body)[1] == pytest.approx(0.5)
    assert body_coordinates(np.zeros((25, 3), np.float32)).tolist() == [0, 0]


def test_streets_lie_where_their_labels_shares_say():
    labels = np.zeros((3, 4, 4), np.float32)
    labels[0, :3], labels[2, 3:] = 1, 1
    assert find("segment").place(np.zeros((0, 3), np.float32), labels).tolist() == [0.75, 0, 0.25]
