"""Frames whose index can be read from their pixels, even after lossy coding."""

from __future__ import annotations

import numpy as np


def numbered_frame(index: int, width: int = 64, height: int = 48) -> np.ndarray:
    """uint8 RGB [height, width, 3]: the index in binary, as eight black or white blocks, above a ramp of greys."""
    frame = np.empty((height, width, 3), np.uint8)
    frame[:] = np.linspace(60, 120, width, dtype=np.uint8)[None, :, None]
    for bit in range(8):
        frame[: height // 2, bit * width // 8 : (bit + 1) * width // 8] = 235 if index >> bit & 1 else 16
    return frame


def number_of(frame: np.ndarray) -> int:
    """The index that `numbered_frame` drew into the frame."""
    height, width = frame.shape[:2]
    return sum((frame[height // 4, bit * width // 8 + width // 16].mean() > 128) << bit for bit in range(8))
