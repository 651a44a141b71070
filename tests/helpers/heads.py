"""Landmarks of the average head, projected to images."""

from __future__ import annotations

import cv2
import numpy as np

from stages.conditions.head import AVERAGE_HEAD
from stages.conditions.landmarks import eye_distance


def irises_of(faces: np.ndarray) -> np.ndarray:
    """Iris points [T, 10, 3] in the middle of the eyes of faces [T, 68, 3]."""
    ends = 0.08 * eye_distance(faces)[:, None, None] * np.array([(0, 0), (1, 0), (0, -1), (-1, 0), (0, 1)])
    eyes = [faces[:, [left, right], :2].mean(1, keepdims=True) + ends for left, right in ((36, 39), (42, 45))]
    return np.concatenate([np.concatenate(eyes, 1), np.ones((len(faces), 10, 1))], -1).astype(np.float32)


def project(
    points: np.ndarray, *, turn: tuple[float, float, float] = (0, 0, 0), size: float = 60, place: tuple[float, float] = (128, 128)
) -> np.ndarray:
    """Orthographic projection of points [N, 3] in space to keypoints [N, 3] (x, y, confidence).

    turn: a rotation vector in degrees; size: of one unit, in pixels; place: x, y of the origin, in pixels.
    """
    rotation = cv2.Rodrigues(np.radians(np.array(turn, float)))[0]
    return np.column_stack([size * (points @ rotation.T)[:, :2] + place, np.ones(len(points))]).astype(np.float32)


def with_irises(faces: list[np.ndarray]) -> np.ndarray:
    """T faces [68, 3] -> [T, 78, 3]."""
    stacked = np.stack(faces)
    return np.concatenate([stacked, irises_of(stacked)], 1)


def lower_lips(distance: float) -> np.ndarray:
    """The average head with its lips moved down by `distance`, in eye distances."""
    head = AVERAGE_HEAD.copy()
    head[48:68, 1] += distance
    return head
