"""A picture with texture everywhere, and what a camera sees of it."""

from __future__ import annotations

import cv2
import numpy as np


def texture(seed: int = 0, side: int = 240) -> np.ndarray:
    """Smooth noise, uint8 RGB [side, side, 3]."""
    noise = np.random.default_rng(seed).normal(0, 1, (side, side, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 4)
    return np.clip(128 + smooth * 40 / smooth.std(), 0, 255).astype(np.uint8)


def seen(image: np.ndarray, left: int, top: int, width: int = 128, height: int = 96) -> np.ndarray:
    """What a camera sees at a place: a step to the right moves everything to the left."""
    return np.ascontiguousarray(image[top : top + height, left : left + width])
