"""A large textured image, and parts of it as a moving camera shows them."""

from __future__ import annotations

import cv2
import numpy as np


def texture(seed: int = 0, side: int = 240) -> np.ndarray:
    """Smooth noise, uint8 RGB [side, side, 3]."""
    noise = np.random.default_rng(seed).normal(0, 1, (side, side, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 4)
    return np.clip(128 + smooth * 40 / smooth.std(), 0, 255).astype(np.uint8)


def camera_view(image: np.ndarray, left: int, top: int, width: int = 128, height: int = 96) -> np.ndarray:
    """The part of the image whose left upper corner is (left, top). A camera that moves to the right shows a motion to the left."""
    return np.ascontiguousarray(image[top : top + height, left : left + width])
