"""The frames of all files.

Their pixels encode the number of the frame, in black and white blocks, and its orientation, by patches of four colours in the corners.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

PATCHES = np.array([[(200, 72, 56), (88, 184, 120)], [(40, 56, 152), (224, 208, 112)]], np.uint8)
"""The colours in the corners of an upright frame: red and green at the top, blue and yellow at the bottom."""
GREY_PATCHES = np.rint(PATCHES @ np.array([0.299, 0.587, 0.114])).astype(int)[..., None].repeat(3, -1)
"""The same patches in grey, by the luma of BT.601."""
ORIENTATIONS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: np.rot90(stored, 2).swapaxes(0, 1),
    8: lambda stored: np.rot90(stored, 1),
}
"""The eight orientations of EXIF: a function from the stored to the upright image."""
INVERSE = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}
"""The orientation that undoes each orientation."""
BITS = 8
"""Number of black and white blocks in a frame."""


def draw_frame(number: int, size: tuple[int, int], patches: np.ndarray = PATCHES) -> np.ndarray:
    """The upright frame with this number, uint8 [H, W, 3]. size: (width, height)."""
    width, height = size
    row, column = np.arange(height) * 3 // height, np.arange(width) * 2 // width
    frame = patches[(row == 2).astype(int)[:, None], column[None, :]]
    frame[row == 1] = np.where(number >> (np.arange(width) * BITS // width) & 1, 235, 16).astype(np.uint8)[None, :, None]
    return frame


def patches_of(frame: np.ndarray) -> np.ndarray:
    """The colours [2, 2, 3] in the corners of an upright frame."""
    height, width = frame.shape[:2]
    return np.stack([[frame[y, x] for x in (width // 4, 3 * width // 4)] for y in (height // 6, 5 * height // 6)]).astype(int)


def number_of(frame: np.ndarray) -> int:
    """The number that `draw_frame` drew into an upright frame."""
    height, width = frame.shape[:2]
    return sum(int(frame[height // 2, (2 * bit + 1) * width // (2 * BITS)].mean() > 128) << bit for bit in range(BITS))


HALF_TRANSPARENT = (PATCHES.astype(int) * 128 + 255 * 127) / 255
"""The colours of half-transparent patches on a white background."""


def add_alpha(frames: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The frames with an alpha channel, uint8 [H, W, 4]: the patches are half transparent, the blocks of the number are opaque."""
    height, width = frames[0].shape[:2]
    alpha = np.where(np.arange(height) * 3 // height == 1, 255, 128).astype(np.uint8)[:, None, None].repeat(width, 1)
    return [np.concatenate([frame, alpha], -1) for frame in frames]
