"""Positions on the appearance map: head angles, orientation of bodies, shares of labels."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from stages.conditions.appearance import _HEAD_MODEL, _RIGID_LANDMARKS, body_coordinates, head_angles
from stages.conditions.kinds import Kind, find_kind
from stages.conditions.poses import NAMES


def rotated_face(pitch: float, yaw: float, roll: float) -> np.ndarray:
    """Landmarks [68, 3] of the generic head, rotated by angles in degrees, in orthographic projection.

    Only the rigid points and the contour are set.
    """
    x, y, z = (np.radians(value) for value in (pitch, -yaw, roll))
    rotation = cv2.Rodrigues(np.array([0, 0, z]))[0] @ cv2.Rodrigues(np.array([0, y, 0]))[0] @ cv2.Rodrigues(np.array([x, 0, 0]))[0]
    points = np.zeros((68, 3), np.float32)
    points[:, 2] = 1
    points[_RIGID_LANDMARKS, :2] = (_HEAD_MODEL @ rotation.T)[:, :2] * 6 + 128
    points[1:16, :2] = np.linspace(points[0, :2], points[16, :2], 17)[1:16]
    return points


@pytest.mark.parametrize("angles", [(0, 0, 0), (0, 30, 0), (0, -30, 0), (20, 0, 0), (-20, 0, 0), (0, 0, 25), (10, 20, 0)])
def test_the_angles_of_a_rotated_head_are_estimated(angles):
    assert np.allclose(head_angles(rotated_face(*angles)), angles, atol=6)


def test_the_mouth_does_not_change_the_angles():
    face = rotated_face(0, 10, 0)
    before = head_angles(face)
    face[48:, :2] += 30
    assert head_angles(face) == before


def test_the_position_of_a_body_is_its_orientation_and_the_height_of_its_hands():
    body = np.zeros((25, 3), np.float32)
    positions = {"neck": (50, 20), "mid hip": (50, 70), "right shoulder": (32, 20), "left shoulder": (68, 20)}
    positions |= {"right wrist": (20, 60), "left wrist": (80, 60)}
    for name, xy in positions.items():
        body[NAMES.index(name)] = (*xy, 1)
    front = body_coordinates(body)
    assert front[0] > 0.9 and front[1] == pytest.approx(-0.8)

    from_behind = body.copy()
    from_behind[[NAMES.index("right shoulder"), NAMES.index("left shoulder")]] = body[
        [NAMES.index("left shoulder"), NAMES.index("right shoulder")]
    ]
    assert body_coordinates(from_behind)[0] == pytest.approx(-front[0])
    body[[NAMES.index("right wrist"), NAMES.index("left wrist")], 1] = -5
    assert body_coordinates(body)[1] == pytest.approx(0.5)
    assert body_coordinates(np.zeros((25, 3), np.float32)).tolist() == [0, 0]


def test_a_kind_may_still_define_its_coordinates_by_the_former_name():
    def coordinates(keypoints: np.ndarray, semantic: np.ndarray) -> np.ndarray:
        return np.zeros(2)

    street = find_kind("segment")
    former = Kind("other", ("segment",), street.open, street.draw, place=coordinates)
    assert former.appearance_coordinates is coordinates
    assert replace(former, name="third").appearance_coordinates is coordinates


def test_the_position_of_a_street_is_the_share_of_each_label():
    labels = np.zeros((3, 4, 4), np.float32)
    labels[0, :3], labels[2, 3:] = 1, 1
    assert find_kind("segment").appearance_coordinates(np.zeros((0, 3), np.float32), labels).tolist() == [0.75, 0, 0.25]
