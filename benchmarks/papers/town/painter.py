"""How tiles are drawn: square textures that repeat without a seam.

A tile is [SIDE, SIDE, 8] with values in [0, 1]. Channels 0 to 2 are the square root of its linear RGB. TINT is the share of the surface's
tint that it takes, GLOSS how strongly it reflects, GLOW how much light it emits, more after dark. ALPHA is 0 where leaves or railings
have gaps. The last channel is unused.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from textures import noise

Array = NDArray[np.floating]
Colour = tuple[float, float, float]

SIDE = 512
TINT, GLOSS, GLOW, ALPHA = 3, 4, 5, 6


class Painter:
    """The random generator and the noise that the tiles of one town share."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.soft, self.middle, self.fine = (noise(rng, SIDE, cells, 4) for cells in (3, 12, 48))
        self.grain = rng.standard_normal((SIDE, SIDE), dtype=np.float32)

    def rough(self, soft: float, middle: float, fine: float, grain: float = 0.0) -> Array:
        """Noise [SIDE, SIDE] with mean 1; the arguments are the amplitudes from coarse to fine."""
        shift = self.rng.integers(SIDE, size=(4, 2))
        fields = zip((self.soft, self.middle, self.fine, self.grain), (soft, middle, fine, grain), shift, strict=True)
        parts = [amount * np.roll(field, tuple(by), (0, 1)) for field, amount, by in fields if amount]
        return np.asarray(1 + sum(parts), np.float32)

    def plain(self, colour: Colour, rough: Array, tint: float = 1.0, gloss: float = 0.0) -> Array:
        """A tile of one colour (square root of linear RGB), multiplied by the noise `rough`."""
        tile = np.zeros((SIDE, SIDE, 8), np.float32)
        tile[..., :3] = np.array(colour, np.float32) * rough[..., None]
        tile[..., TINT], tile[..., GLOSS], tile[..., ALPHA] = tint, gloss, 1
        return tile


def fill(tile: Array, x: tuple[float, float], y: tuple[float, float], colour: Colour, tint: float = 0.0, gloss: float = 0.0) -> None:
    """Fill the rectangle from x[0] to x[1] and, upward, from y[0] to y[1], in shares of the tile."""
    part = area(tile, x, y)
    part[..., :3], part[..., TINT], part[..., GLOSS] = colour, tint, gloss


def area(tile: Array, x: tuple[float, float], y: tuple[float, float]) -> Array:
    """The pixels of a rectangle as in `fill`, to be changed in place."""
    left, right, low, high = (round(value * SIDE) for value in (*x, *y))
    return tile[SIDE - high : SIDE - low, max(left, 0) : max(right, 0)]


def grey(value: float) -> Colour:
    return (value, value, value)


def write_text(canvas: Array, word: str, at: tuple[int, int], scale: float, ink: Colour, thickness: int) -> None:
    """Write on an image [h, w, 3], through a stencil of integers, because OpenCV does not antialias on floats."""
    stencil = np.zeros(canvas.shape[:2], np.uint8)
    cv2.putText(stencil, word, at, cv2.FONT_HERSHEY_DUPLEX, scale, 255, thickness, cv2.LINE_AA)
    canvas += (np.array(ink, np.float32) - canvas) * (stencil[..., None] / np.float32(255))


def random_colour(rng: np.random.Generator, low: float, high: float, strength: float) -> Colour:
    red, green, blue = rng.uniform(low, high) + rng.uniform(-strength, strength, 3)
    return float(red), float(green), float(blue)
