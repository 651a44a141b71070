"""From which side, or in which pose, a face or body is seen, as a few numbers: coordinates of the appearance map.

Adaptive compact attention (2020), section 3.2, uses pitch and yaw of the head; bodies get coordinates in the same spirit.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

_RIGID = [0, 16, 27, 30, 33, 36, 39, 42, 45]
_HEAD = np.array(
    [
        (-7.7, -0.7, 2.4), (7.7, -0.7, 2.4), (0, -3.3, -5.2), (0, 0.5, -7.6), (0, 2.1, -6.1),
        (-4.4, -2.7, -3.2), (-1.9, -2.6, -3.8), (1.9, -2.6, -3.8), (4.4, -2.7, -3.2),
    ]
)  # fmt: skip
"""A generic head in centimetres, x right, y down, z away from the camera: temples, root, tip and base of the nose, corners of the eyes.
These do not move when the mouth does."""
_FOCAL_IN_FACES = 6.0
_RIGHT_SHOULDER, _LEFT_SHOULDER, _NECK, _MID_HIP, _WRISTS = 2, 5, 1, 8, (4, 7)


def head_angles(landmarks: NDArray[np.float32]) -> tuple[float, float, float]:
    """Pitch, yaw and roll in degrees of a face with landmarks [68, >=2], by PnP on nine of them.

    Positive pitch looks down, positive yaw to the right of the image, positive roll leans to the right of the image. People differ from
    the generic head, so all angles of one person are off by the same few degrees, the pitch by up to 20.
    """
    points = landmarks[_RIGID, :2].astype(np.float64)
    size = max(float(np.ptp(landmarks[:17, 0])), 1.0)
    camera = np.array([[_FOCAL_IN_FACES * size, 0, points[3, 0]], [0, _FOCAL_IN_FACES * size, points[3, 1]], [0, 0, 1]])
    found, rotation, _ = cv2.solvePnP(_HEAD, points, camera, None, flags=cv2.SOLVEPNP_SQPNP)
    if not found:
        return 0.0, 0.0, 0.0
    matrix = cv2.Rodrigues(rotation)[0]
    forward, upward = -matrix[:, 2], -matrix[:, 1]  # where the nose points, and the top of the head
    yaw = np.degrees(np.arctan2(forward[0], -forward[2]))
    pitch = np.degrees(np.arctan2(forward[1], np.hypot(forward[0], forward[2])))
    return float(pitch), float(yaw), float(np.degrees(np.arctan2(upward[0], -upward[1])))


def body_place(keypoints: NDArray[np.float32]) -> NDArray[np.float64]:
    """(orientation, hands) of a body with BODY_25 keypoints [25, 3], both about -1 to 1; 0 for what is not seen.

    orientation: from which side the shoulders are seen, 1 from the front and -1 from behind; hands: how high they are above the
    shoulders, in trunks.
    """
    seen = keypoints[:, 2] > 0
    if not seen[[_NECK, _MID_HIP]].all():
        return np.zeros(2)
    trunk = max(float(np.linalg.norm(keypoints[_NECK, :2] - keypoints[_MID_HIP, :2])), 1.0)
    orientation = hands = 0.0
    if seen[[_RIGHT_SHOULDER, _LEFT_SHOULDER]].all():
        orientation = float(keypoints[_LEFT_SHOULDER, 0] - keypoints[_RIGHT_SHOULDER, 0]) / (0.7 * trunk)
    heights = [float(keypoints[_NECK, 1] - keypoints[wrist, 1]) / trunk for wrist in _WRISTS if seen[wrist]]
    if heights:
        hands = sum(heights) / len(heights)
    return np.clip([orientation, hands], -1.5, 1.5)
