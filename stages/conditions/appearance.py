"""Coordinates of the appearance map: a few numbers that describe the pose of a face or body relative to the camera.

For faces they are pitch and yaw of the head, as in adaptive compact attention (2020), section 3.2. Those of bodies are our own choice.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

_RIGID_LANDMARKS = [0, 16, 27, 30, 33, 36, 39, 42, 45]
_HEAD_MODEL = np.array(
    [
        (-7.7, -0.7, 2.4), (7.7, -0.7, 2.4), (0, -3.3, -5.2), (0, 0.5, -7.6), (0, 2.1, -6.1),
        (-4.4, -2.7, -3.2), (-1.9, -2.6, -3.8), (1.9, -2.6, -3.8), (4.4, -2.7, -3.2),
    ]
)  # fmt: skip
"""The rigid landmarks of a generic head [9, 3] in centimetres; x right, y down, z away from the camera: temples, root, tip and base of the
nose, corners of the eyes. The mouth does not move them."""
_FOCAL_LENGTH_IN_FACES = 6.0
"""Assumed focal length of the camera, in widths of the face."""
_RIGHT_SHOULDER, _LEFT_SHOULDER, _NECK, _MID_HIP, _WRISTS = 2, 5, 1, 8, (4, 7)


def head_angles(landmarks: NDArray[np.float32]) -> tuple[float, float, float]:
    """Pitch, yaw and roll in degrees of a face with landmarks [68, >=2], by PnP on nine of them. All are 0 if PnP finds no solution.

    Positive pitch looks down, positive yaw to the right of the image, positive roll leans to the right of the image. Real heads differ
    from the generic one. This adds the same error to all frames of a person: a few degrees for yaw and roll, up to 20 for pitch.
    """
    points = landmarks[_RIGID_LANDMARKS, :2].astype(np.float64)
    focal_length = _FOCAL_LENGTH_IN_FACES * max(float(np.ptp(landmarks[:17, 0])), 1.0)
    camera = np.array([[focal_length, 0, points[3, 0]], [0, focal_length, points[3, 1]], [0, 0, 1]])
    solved, rotation, _ = cv2.solvePnP(_HEAD_MODEL, points, camera, None, flags=cv2.SOLVEPNP_SQPNP)
    if not solved:
        return 0.0, 0.0, 0.0
    matrix = cv2.Rodrigues(rotation)[0]
    forward, upward = -matrix[:, 2], -matrix[:, 1]  # the directions of the nose and of the top of the head
    yaw = np.degrees(np.arctan2(forward[0], -forward[2]))
    pitch = np.degrees(np.arctan2(forward[1], np.hypot(forward[0], forward[2])))
    return float(pitch), float(yaw), float(np.degrees(np.arctan2(upward[0], -upward[1])))


def body_coordinates(keypoints: NDArray[np.float32]) -> NDArray[np.float64]:
    """(orientation, hand height) of a body with BODY_25 keypoints [25, 3]; both within [-1.5, 1.5], and 0 if their keypoints are missing.

    orientation: 1 if the body faces the camera, 0 from the side, -1 from behind. hand height: mean height of the wrists above the neck,
    in lengths of the trunk.
    """
    seen = keypoints[:, 2] > 0
    if not seen[[_NECK, _MID_HIP]].all():
        return np.zeros(2)
    trunk = max(float(np.linalg.norm(keypoints[_NECK, :2] - keypoints[_MID_HIP, :2])), 1.0)
    orientation = hand_height = 0.0
    if seen[[_RIGHT_SHOULDER, _LEFT_SHOULDER]].all():
        orientation = float(keypoints[_LEFT_SHOULDER, 0] - keypoints[_RIGHT_SHOULDER, 0]) / (0.7 * trunk)
    heights = [float(keypoints[_NECK, 1] - keypoints[wrist, 1]) / trunk for wrist in _WRISTS if seen[wrist]]
    if heights:
        hand_height = sum(heights) / len(heights)
    return np.clip([orientation, hand_height], -1.5, 1.5)
