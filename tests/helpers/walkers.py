"""Keypoints of walking people."""

from __future__ import annotations

import numpy as np

STANDING = {
    0: (0, 0), 1: (0, 0.15), 2: (-0.1, 0.15), 3: (-0.15, 0.3), 4: (-0.15, 0.45), 5: (0.1, 0.15), 6: (0.15, 0.3), 7: (0.15, 0.45),
    8: (0, 0.45), 9: (-0.07, 0.45), 10: (-0.07, 0.7), 11: (-0.07, 0.95), 12: (0.07, 0.45), 13: (0.07, 0.7), 14: (0.07, 0.95),
    15: (-0.02, -0.02), 16: (0.02, -0.02), 19: (0.09, 1.0), 22: (-0.09, 1.0),
}  # fmt: skip
"""Index in BODY_25 -> (x, y) in units of the body height, from the nose."""


def walking_person(num_frames: int, x: float, height: float = 80.0, step: float = 1.0) -> np.ndarray:
    """A person [T, 25, 3] (x, y, confidence) who starts at `x` and moves to the right by `step` pixels a frame."""
    keypoints = np.zeros((num_frames, 25, 3), np.float32)
    for index, (dx, dy) in STANDING.items():
        keypoints[:, index] = x + height * dx, 20 + height * dy, 1
    keypoints[:, list(STANDING), 0] += step * np.arange(num_frames)[:, None]
    return keypoints
