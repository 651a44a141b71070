"""The atlas: the tiles of a town as mipmaps, and how surfaces sample them without flicker."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from .painter import ALPHA, SIDE, Painter
from .tiles import TILES

Array = NDArray[np.floating]

_LEVELS = 9
"""Number of mipmap levels of a tile; each is half the size of the one before."""


@dataclass(frozen=True)
class Atlas:
    """All tiles at all mipmap levels. An image holds the tiles of one level below one another, with rims of one texel: uint8 [R, C, 4].

    numbers: name -> number of a tile. colours: channels 0 to 3, and others: channels 4 to 7, for each level, largest first.
    """

    numbers: dict[str, int]
    colours: list[NDArray[np.uint8]]
    others: list[NDArray[np.uint8]]

    def __getitem__(self, name: str) -> int:
        return self.numbers[name]

    def look_up(self, tile: NDArray[np.int64], uv: Array, texels: Array) -> Array:
        """Samples [N, 7] float32 of tiles [N] at uv [N, 2], averaged over about `texels` [N] texels of the full size; RGB is linear."""
        levels = np.clip(np.log2(np.maximum(texels, 1)) + 0.5, 0, _LEVELS - 1).astype(np.int64)
        samples = np.empty((len(tile), 8), np.float32)
        share = (uv - np.floor(uv)).astype(np.float32)
        for level in np.flatnonzero(np.bincount(levels)):
            chosen = np.flatnonzero(levels == level)
            side = SIDE >> level
            x = share[chosen, 0] * side + 0.5
            y = (1 - share[chosen, 1]) * side + 0.5 + tile[chosen] * (side + 2)
            samples[chosen, :4] = sample(self.colours[level], x, y)
            samples[chosen, 4:] = sample(self.others[level], x, y)
        samples *= 1 / 255
        samples[:, :3] *= samples[:, :3]
        return samples[:, :7]

    def is_opaque(self, tile: NDArray[np.int64], uv: Array, texels: Array) -> NDArray[np.bool_]:
        """Whether tiles [N] are opaque at uv [N, 2]. texels: as in `look_up`, but the level is one finer."""
        levels = np.clip(np.log2(np.maximum(texels, 1)) - 0.5, 0, 5).astype(np.int64)
        share, side = uv - np.floor(uv), SIDE >> levels
        x = (share[:, 0] * side).astype(np.int64).clip(0, side - 1) + 1
        y = ((1 - share[:, 1]) * side).astype(np.int64).clip(0, side - 1) + 1 + tile * (side + 2)
        opaque = np.zeros(len(tile), bool)
        for level in np.flatnonzero(np.bincount(levels)):
            chosen = np.flatnonzero(levels == level)
            opaque[chosen] = self.others[level][y[chosen], x[chosen], ALPHA - 4] > 127
        return opaque


def sample(image: NDArray[np.uint8] | Array, x: Array, y: Array) -> Array:
    """Bilinear samples [N, C] of an image [H, W, C] at x, y [N] in pixels; the image repeats beyond its border."""
    count, across = len(x), 1024
    padded = max(-(-count // across), 1) * across
    coordinates = np.zeros((2, padded), np.float32)
    coordinates[0, :count], coordinates[1, :count] = x, y
    column, row = coordinates.reshape(2, -1, across)
    samples = cv2.remap(image, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    return np.asarray(samples, np.float32).reshape(padded, -1)[:count]


def draw_atlas(rng: np.random.Generator) -> Atlas:
    painter = Painter(rng)
    tiles = [np.clip(paint(painter) * 255 + 0.5, 0, 255).astype(np.uint8) for paint in TILES.values()]
    colours, others = [], []
    for level in range(_LEVELS):
        if level:
            half = (SIDE >> level, SIDE >> level)
            tiles = [np.asarray(cv2.resize(tile, half, interpolation=cv2.INTER_AREA), np.uint8) for tile in tiles]
        whole = np.concatenate([np.pad(tile, ((1, 1), (1, 1), (0, 0)), "wrap") for tile in tiles])
        colours.append(np.ascontiguousarray(whole[..., :4]))
        others.append(np.ascontiguousarray(whole[..., 4:]))
    return Atlas({name: number for number, name in enumerate(TILES)}, colours, others)
