"""What surfaces show: square tiles that repeat without a seam, drawn for each town, and how they are looked up without flicker.

A tile has eight channels in [0, 1]: linear colour after the square root (3), how much of a surface's own tint it takes, gloss, glow (after
dark), cover (0 where foliage has gaps), and one that is spare.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray
from textures import noise

Array = NDArray[np.floating]

SIDE = 512
TINT, GLOSS, GLOW, COVER = 3, 4, 5, 6
_LEVELS = 9
_CELLS = 4
"""Windows across and up on a tile of a facade."""


@dataclass(frozen=True)
class Atlas:
    """All tiles, one below the other, with a rim of one texel, at full size and reduced again and again: uint8 [rows, columns, 4]."""

    numbers: dict[str, int]
    colours: list[NDArray[np.uint8]]
    others: list[NDArray[np.uint8]]

    def __getitem__(self, name: str) -> int:
        return self.numbers[name]

    def look_up(self, tile: NDArray[np.int64], uv: Array, texels: Array) -> Array:
        """Samples [N, 7] float32 at uv [N, 2], averaged over about `texels` [N] texels of the full size."""
        level = np.clip(np.log2(np.maximum(texels, 1)) + 0.5, 0, _LEVELS - 1).astype(np.int64)
        found = np.empty((len(tile), 8), np.float32)
        share = (uv - np.floor(uv)).astype(np.float32)
        for number in np.flatnonzero(np.bincount(level)):
            chosen = np.flatnonzero(level == number)
            side = SIDE >> number
            x = share[chosen, 0] * side + 0.5
            y = (1 - share[chosen, 1]) * side + 0.5 + tile[chosen] * (side + 2)
            found[chosen, :4] = sampled(self.colours[number], x, y)
            found[chosen, 4:] = sampled(self.others[number], x, y)
        found *= 1 / 255
        found[:, :3] *= found[:, :3]
        return found[:, :7]

    def covered(self, tile: NDArray[np.int64], uv: Array, texels: Array) -> NDArray[np.bool_]:
        """Where foliage is, of samples [N]."""
        level = np.clip(np.log2(np.maximum(texels, 1)) - 0.5, 0, 5).astype(np.int64)
        share, side = uv - np.floor(uv), SIDE >> level
        x = (share[:, 0] * side).astype(np.int64).clip(0, side - 1) + 1
        y = ((1 - share[:, 1]) * side).astype(np.int64).clip(0, side - 1) + 1 + tile * (side + 2)
        found = np.zeros(len(tile), bool)
        for number in np.flatnonzero(np.bincount(level)):
            chosen = np.flatnonzero(level == number)
            found[chosen] = self.others[number][y[chosen], x[chosen], COVER - 4] > 127
        return found


def sampled(image: NDArray[np.uint8] | Array, x: Array, y: Array) -> Array:
    """Bilinear samples of an image [H, W, C] at N places, repeated beyond its rim: [N, C]."""
    count, across = len(x), 1024
    padded = max(-(-count // across), 1) * across
    places = np.zeros((2, padded), np.float32)
    places[0, :count], places[1, :count] = x, y
    column, row = places.reshape(2, -1, across)
    found = cv2.remap(image, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    return np.asarray(found, np.float32).reshape(padded, -1)[:count]


class Painter:
    """Draws the tiles of one town."""

    def __init__(self, draw: np.random.Generator) -> None:
        self.draw = draw
        self.soft, self.middle, self.fine = (noise(draw, SIDE, cells, 4) for cells in (3, 12, 48))
        self.grain = draw.standard_normal((SIDE, SIDE), dtype=np.float32)

    def rough(self, soft: float, middle: float, fine: float, grain: float = 0.0) -> Array:
        """Noise [SIDE, SIDE] about 1, from coarse to fine."""
        shift = self.draw.integers(SIDE, size=(4, 2))
        fields = zip((self.soft, self.middle, self.fine, self.grain), (soft, middle, fine, grain), shift, strict=True)
        parts = [amount * np.roll(field, tuple(by), (0, 1)) for field, amount, by in fields if amount]
        return np.asarray(1 + sum(parts), np.float32)

    def plain(self, colour: tuple[float, float, float], rough: Array, tint: float = 1.0, gloss: float = 0.0) -> Array:
        """A tile [SIDE, SIDE, 8] of one colour (square root of linear)."""
        tile = np.zeros((SIDE, SIDE, 8), np.float32)
        tile[..., :3] = np.array(colour, np.float32) * rough[..., None]
        tile[..., TINT], tile[..., GLOSS], tile[..., COVER] = tint, gloss, 1
        return tile


def fill(
    tile: Array, x: tuple[float, float], y: tuple[float, float], colour: tuple[float, float, float], tint: float = 0.0, gloss: float = 0.0
) -> None:
    """A rectangle, from x[0] to x[1] and up from y[0] to y[1] in shares of the tile."""
    part = area(tile, x, y)
    part[..., :3], part[..., TINT], part[..., GLOSS] = colour, tint, gloss


def area(tile: Array, x: tuple[float, float], y: tuple[float, float]) -> Array:
    left, right, low, high = (round(value * SIDE) for value in (*x, *y))
    return tile[SIDE - high : SIDE - low, max(left, 0) : max(right, 0)]


def grey(value: float) -> tuple[float, float, float]:
    return (value, value, value)


def _letter(canvas: Array, word: str, at: tuple[int, int], scale: float, ink: tuple[float, float, float], thick: int) -> None:
    """Write on a picture [h, w, 3]; OpenCV writes on whole numbers only."""
    stencil = np.zeros(canvas.shape[:2], np.uint8)
    cv2.putText(stencil, word, at, cv2.FONT_HERSHEY_DUPLEX, scale, 255, thick, cv2.LINE_AA)
    canvas += (np.array(ink, np.float32) - canvas) * (stencil[..., None] / np.float32(255))


def _any_colour(draw: np.random.Generator, low: float, high: float, strength: float) -> tuple[float, float, float]:
    red, green, blue = draw.uniform(low, high) + draw.uniform(-strength, strength, 3)
    return float(red), float(green), float(blue)


def _asphalt(painter: Painter) -> Array:
    return painter.plain(grey(0.38), painter.rough(0.015, 0.02, 0.035, 0.09))


def _paving(painter: Painter) -> Array:
    tile = painter.plain(grey(0.56), painter.rough(0.05, 0.03, 0.03, 0.03))
    for row in range(6):
        for column in range(4):
            x, y = (column + 0.5 * (row % 2)) / 4, row / 6
            for left in (x, x - 1):
                if left < 1 and left + 0.25 > 0:
                    area(tile, (left, left + 0.25), (y, y + 1 / 6))[..., :3] *= painter.draw.uniform(0.96, 1.03)
                    area(tile, (left, left + 0.008), (y, y + 1 / 6))[..., :3] *= 0.75
        area(tile, (0, 1), (row / 6, row / 6 + 0.008))[..., :3] *= 0.75
    return tile


def _grass(painter: Painter) -> Array:
    tile = painter.plain((0.35, 0.42, 0.22), painter.rough(0.08, 0.08, 0.1, 0.1))
    tile[..., 0] *= painter.rough(0.06, 0.05, 0)
    return tile


def _plaster(painter: Painter) -> Array:
    tile = painter.plain(grey(0.82), painter.rough(0.04, 0.02, 0.015, 0.012))
    streaks = cv2.blur(np.roll(painter.fine, 99, 1), (3, 301))
    tile[..., :3] *= (1 + 0.12 * streaks)[..., None]
    return tile


def _bricks(painter: Painter) -> Array:
    """A tile of about eight metres: 80 rows."""
    tile = painter.plain(grey(0.66), painter.rough(0.03, 0.02, 0, 0.03))
    shade = painter.draw.uniform(0.78, 1.1, (80, 28)).astype(np.float32)
    rows, columns = np.mgrid[:SIDE, :SIDE].astype(np.float32) / SIDE
    row = (rows * 80).astype(int)
    place = columns * 28 + 0.5 * (row % 2)
    brick = shade[row, place.astype(int) % 28] * np.float32(0.86)
    mortar = ((rows * 80) % 1 < 0.18) | (place % 1 < 0.08)
    tile[..., :3] *= np.where(mortar, 1.06, brick)[..., None]
    tile[..., TINT] = np.where(mortar, 0.6, 1)
    return tile


def _shingles(painter: Painter) -> Array:
    tile = painter.plain(grey(0.6), painter.rough(0.06, 0.05, 0.02, 0.03))
    rows, columns = np.mgrid[:SIDE, :SIDE].astype(np.float32) / SIDE
    row = (rows * 16).astype(int)
    shade = painter.draw.uniform(0.88, 1.1, (16, 24)).astype(np.float32)
    place = columns * 24 + 0.5 * (row % 2)
    wave = 0.8 + 0.25 * ((rows * 16) % 1)
    tile[..., :3] *= (shade[row, place.astype(int) % 24] * wave * np.where(place % 1 < 0.08, 0.8, 1))[..., None]
    return tile


def _bark(painter: Painter) -> Array:
    streaks = noise(painter.draw, SIDE, 6, 4, (1, 5))
    return painter.plain((0.42, 0.36, 0.3), 1 + 0.22 * streaks)


def _leaves(dense: float, size: tuple[int, int]) -> Callable[[Painter], Array]:
    """Leaves in layers from dark to light; gaps towards the rim of the tile, which is one tuft."""

    def paint(painter: Painter) -> Array:
        draw = painter.draw
        rough = painter.rough(0.1, 0.1, 0, 0)
        canvas, cover = np.full((SIDE, SIDE, 3), 0.45, np.float32), np.zeros((SIDE, SIDE), np.float32)
        count = 1100
        radius = np.sqrt(draw.uniform(0, 1, count)) * 0.47 * SIDE
        angle = draw.uniform(0, 2 * np.pi, count)
        lobes = 1 + 0.16 * np.sin(3 * angle + draw.uniform(0, 6)) + 0.12 * np.sin(7 * angle + draw.uniform(0, 6))
        x, y = (SIDE / 2 + 0.86 * radius * lobes * way(angle) for way in (np.cos, np.sin))
        for index in np.flatnonzero(draw.uniform(0, 1, count) < dense):
            light = float(0.34 + 0.32 * index / count + draw.normal(0, 0.05))
            axes = (int(draw.integers(*size)), int(draw.integers(size[0] // 2 + 1, size[1] // 2 + 2)))
            where = ((int(x[index]), int(y[index])), axes, float(draw.uniform(0, 360)), 0, 360)
            cv2.ellipse(canvas, *where, (light, light * 1.02, light * draw.uniform(0.75, 1.0)), cv2.FILLED)
            cv2.ellipse(cover, *where, 1.0, cv2.FILLED)
        tile = painter.plain(grey(1.0), rough, gloss=0.04)
        tile[..., :3] *= canvas
        tile[..., COVER] = cover
        return tile

    return paint


def _hedge(painter: Painter) -> Array:
    return painter.plain(grey(0.45), painter.rough(0.08, 0.16, 0.22, 0.14))


def _facade(painter: Painter, brick: bool) -> Array:
    """Four windows across, four floors: glass that mirrors the sky, curtains, frames, sills and the shadow of the lintel."""
    draw = painter.draw
    tile = _bricks(painter) if brick else _plaster(painter)
    wide, tall = draw.uniform(0.38, 0.66), draw.uniform(0.5, 0.7)
    bars, low = int(draw.integers(0, 3)), draw.uniform(0.16, 0.24)
    frame = grey(draw.uniform(0.78, 0.92)) if draw.random() < 0.7 else grey(draw.uniform(0.15, 0.3))
    surround = draw.random() < 0.5
    for row in range(_CELLS):
        if draw.random() < 0.4:
            area(tile, (0, 1), (row / _CELLS, row / _CELLS + 0.008))[..., :3] *= 0.82
        for column in range(_CELLS):
            x, y = (column + 0.5 - wide / 2) / _CELLS, (row + low) / _CELLS
            _window(painter, tile, (x, x + wide / _CELLS), (y, y + tall / _CELLS), frame, bars, surround)
    return tile


def _window(
    painter: Painter,
    tile: Array,
    x: tuple[float, float],
    y: tuple[float, float],
    frame: tuple[float, float, float],
    bars: int,
    surround: bool,
) -> None:
    draw, rim = painter.draw, 0.009
    if surround:
        fill(tile, (x[0] - 0.02, x[1] + 0.02), (y[0] - 0.02, y[1] + 0.024), grey(0.86), tint=0.35)
    fill(tile, (x[0] - 0.024, x[1] + 0.024), (y[0] - 0.018, y[0]), grey(0.8), tint=0.3)
    area(tile, (x[0] - 0.02, x[1] + 0.02), (y[0] - 0.034, y[0] - 0.018))[..., :3] *= 0.72
    fill(tile, x, y, frame)
    x, y = (x[0] + rim, x[1] - rim), (y[0] + rim, y[1] - rim)
    fill(tile, x, y, (0.14, 0.17, 0.2), gloss=0.9)
    glass = area(tile, x, y)
    glass[..., :3] *= np.linspace(0.7, 1.5, len(glass))[:, None, None]
    if draw.random() < 0.35:
        area(tile, x, y)[..., GLOW] = draw.uniform(0.5, 1)
    if draw.random() < 0.55:
        share, light = draw.uniform(0.12, 0.3), draw.uniform(0.35, 0.7)
        for side in ((x[0], x[0] + share * (x[1] - x[0])), (x[1] - share * (x[1] - x[0]), x[1])):
            curtain = area(tile, side, y)
            curtain[..., :3] = light * (0.9 + 0.1 * np.sin(np.arange(curtain.shape[1]) * 0.9))[:, None]
            curtain[..., GLOSS] = 0.5
    elif draw.random() < 0.3:
        fill(tile, x, (y[1] - draw.uniform(0.2, 0.9) * (y[1] - y[0]), y[1]), grey(draw.uniform(0.5, 0.75)), gloss=0.4)
    for bar in range(bars):
        middle = x[0] + (x[1] - x[0]) * (bar + 1) / (bars + 1)
        fill(tile, (middle - 0.004, middle + 0.004), y, frame)
    if bars:
        fill(tile, x, (y[0] + 0.6 * (y[1] - y[0]) - 0.004, y[0] + 0.6 * (y[1] - y[0]) + 0.004), frame)
    area(tile, x, (y[1] - 0.012, y[1]))[..., :3] *= 0.55
    area(tile, (x[0], x[0] + 0.006), y)[..., :3] *= 0.6


SHOPS = 4
"""Rows of a tile of ground floors: two of shops, one of doors and windows, one of windows alone."""


def _ground_floor(painter: Painter) -> Array:
    draw = painter.draw
    tile = _plaster(painter)
    for row in range(SHOPS):
        low = row / SHOPS
        for column in range(_CELLS):
            x = column / _CELLS
            if row < 2:
                _shop(painter, tile, x, low)
            elif row == 2 and column % 2 == int(draw.integers(2)):
                colour = _any_colour(draw, 0.15, 0.6, 0.2)
                fill(tile, (x + 0.075, x + 0.175), (low, low + 0.185), grey(0.85))
                fill(tile, (x + 0.085, x + 0.165), (low, low + 0.175), colour, gloss=0.1)
                fill(tile, (x + 0.1, x + 0.15), (low + 0.1, low + 0.16), (0.12, 0.14, 0.17), gloss=0.8)
                area(tile, (x + 0.085, x + 0.165), (low + 0.165, low + 0.175))[..., :3] *= 0.5
            else:
                _window(painter, tile, (x + 0.06, x + 0.19), (low + 0.06, low + 0.19), grey(0.85), 1, True)
        area(tile, (0, 1), (low, low + 0.025))[..., :3] *= 0.7
        area(tile, (0, 1), (low + 0.24, low + 0.25))[..., :3] *= 0.75
    return tile


def _shop(painter: Painter, tile: Array, x: float, low: float) -> None:
    """A shop window with goods behind it, a sign with letters above and a door."""
    draw = painter.draw
    colour = _any_colour(draw, 0.15, 0.7, 0.16)
    fill(tile, (x + 0.008, x + 0.242), (low, low + 0.235), colour, gloss=0.1)
    fill(tile, (x + 0.02, x + 0.17), (low + 0.035, low + 0.165), (0.2, 0.21, 0.22), gloss=0.8)
    pane = area(tile, (x + 0.02, x + 0.17), (low + 0.035, low + 0.165))
    pane[..., GLOW] = draw.uniform(0.4, 1.0)
    for _ in range(9):
        left, height = draw.uniform(x + 0.025, x + 0.15), draw.uniform(0.01, 0.07)
        goods = _any_colour(draw, 0.2, 0.6, 0.12)
        fill(tile, (left, left + draw.uniform(0.008, 0.02)), (low + 0.04, low + 0.04 + height), goods, gloss=0.6)
    fill(tile, (x + 0.18, x + 0.232), (low, low + 0.165), (0.16, 0.17, 0.19), gloss=0.8)
    area(tile, (x + 0.02, x + 0.232), (low + 0.155, low + 0.165))[..., :3] *= 0.5
    word = "".join(chr(65 + letter) for letter in draw.integers(0, 26, draw.integers(4, 8)))
    board = np.ascontiguousarray(area(tile, (x + 0.008, x + 0.242), (low + 0.178, low + 0.228))[..., :3])
    ink = grey(0.92) if sum(colour) < 1.2 else grey(0.1)
    _letter(board, word, (8, board.shape[0] - 6), 0.62, ink, 1)
    area(tile, (x + 0.008, x + 0.242), (low + 0.178, low + 0.228))[..., :3] = board


def _car_side(painter: Painter) -> Array:
    """u from rear to front, v from the sill up: doors, handles, wheel arches."""
    tile = painter.plain(grey(0.97), painter.rough(0.004, 0.004, 0, 0), gloss=0.55)
    area(tile, (0, 1), (0, 0.2))[..., :3] *= 0.55
    for door in (0.35, 0.56, 0.72):
        fill(tile, (door - 0.004, door + 0.004), (0.16, 1), grey(0.3), tint=0.8)
    for handle in (0.38, 0.59):
        fill(tile, (handle, handle + 0.04), (0.74, 0.78), grey(0.25), tint=0.5)
    fill(tile, (0.02, 0.98), (0.5, 0.52), grey(0.8), tint=1)
    fill(tile, (0.93, 1), (0.62, 0.8), (0.9, 0.9, 0.88), gloss=0.9)
    fill(tile, (0, 0.05), (0.6, 0.84), (0.6, 0.05, 0.05), gloss=0.7)
    return tile


def _car_front(painter: Painter) -> Array:
    tile = painter.plain(grey(0.97), painter.rough(0.004, 0.004, 0, 0), gloss=0.5)
    fill(tile, (0.28, 0.72), (0.5, 0.74), grey(0.08), gloss=0.3)
    for bar in range(4):
        fill(tile, (0.3, 0.7), (0.53 + 0.05 * bar, 0.545 + 0.05 * bar), grey(0.45), gloss=0.6)
    for left in (0.05, 0.75):
        fill(tile, (left, left + 0.2), (0.55, 0.78), (0.85, 0.87, 0.9), gloss=0.9)
        area(tile, (left + 0.04, left + 0.16), (0.59, 0.74))[..., :3] = 0.98
        area(tile, (left, left + 0.2), (0.55, 0.78))[..., GLOW] = 1
    fill(tile, (0, 1), (0, 0.12), grey(0.12))
    fill(tile, (0.12, 0.88), (0.16, 0.36), grey(0.14))
    fill(tile, (0.36, 0.64), (0.36, 0.46), (0.92, 0.92, 0.85))
    return tile


def _car_rear(painter: Painter) -> Array:
    tile = painter.plain(grey(0.97), painter.rough(0.004, 0.004, 0, 0), gloss=0.5)
    fill(tile, (0, 1), (0, 0.14), grey(0.12))
    fill(tile, (0.02, 0.98), (0.36, 0.38), grey(0.3), tint=0.8)
    for left in (0.03, 0.77):
        fill(tile, (left, left + 0.2), (0.52, 0.82), (0.66, 0.04, 0.04), gloss=0.7)
        fill(tile, (left + 0.06, left + 0.14), (0.55, 0.61), (0.9, 0.55, 0.2), gloss=0.7)
        area(tile, (left, left + 0.2), (0.52, 0.82))[..., GLOW] = 0.35
    fill(tile, (0.34, 0.66), (0.48, 0.6), (0.92, 0.85, 0.4))
    return tile


def _car_glass(painter: Painter) -> Array:
    """Glass from rear to front with pillars in the colour of the car."""
    tile = painter.plain(grey(0.12), painter.rough(0.1, 0, 0, 0), tint=0, gloss=1.0)
    for left, right in ((0, 0.035), (0.49, 0.525), (0.965, 1)):
        fill(tile, (left, right), (0, 1), grey(0.9), tint=1, gloss=0.5)
    fill(tile, (0, 1), (0.93, 1), grey(0.9), tint=1, gloss=0.5)
    fill(tile, (0, 1), (0, 0.05), grey(0.1))
    return tile


def _car_screen(painter: Painter) -> Array:
    tile = painter.plain(grey(0.12), painter.rough(0.1, 0, 0, 0), tint=0, gloss=1.0)
    for left in (0, 0.955):
        fill(tile, (left, left + 0.045), (0, 1), grey(0.9), tint=1, gloss=0.5)
    fill(tile, (0, 1), (0.95, 1), grey(0.9), tint=1, gloss=0.5)
    fill(tile, (0, 1), (0, 0.06), grey(0.06))
    return tile


def _wheel(painter: Painter) -> Array:
    tile = painter.plain(grey(0.13), painter.rough(0.05, 0.02, 0.02, 0.02), tint=0)
    canvas = np.ascontiguousarray(tile[..., :3])
    middle = (SIDE // 2, SIDE // 2)
    cv2.circle(canvas, middle, int(0.33 * SIDE), grey(0.62), cv2.FILLED, cv2.LINE_AA)
    for spoke in range(5):
        angle = spoke * 2 * np.pi / 5 + np.pi / 5
        at = (int(SIDE * (0.5 + 0.2 * np.cos(angle))), int(SIDE * (0.5 + 0.2 * np.sin(angle))))
        cv2.circle(canvas, at, int(0.085 * SIDE), grey(0.1), cv2.FILLED, cv2.LINE_AA)
    cv2.circle(canvas, middle, int(0.06 * SIDE), grey(0.4), cv2.FILLED, cv2.LINE_AA)
    tile[..., :3] = canvas
    return tile


def _face(painter: Painter) -> Array:
    """u around a head, its front at a half."""
    tile = painter.plain(grey(0.95), painter.rough(0.02, 0.02, 0, 0))
    for eye in (0.44, 0.53):
        fill(tile, (eye, eye + 0.03), (0.52, 0.56), grey(0.2))
        fill(tile, (eye - 0.005, eye + 0.035), (0.6, 0.615), grey(0.3), tint=0.8)
    fill(tile, (0.46, 0.54), (0.3, 0.325), (0.6, 0.32, 0.3), tint=0.6)
    area(tile, (0.49, 0.51), (0.38, 0.5))[..., :3] *= 0.85
    return tile


def _cloth(painter: Painter) -> Array:
    folds = noise(painter.draw, SIDE, 3, 3, (3, 1))
    return painter.plain(grey(0.92), painter.rough(0.02, 0.02, 0.02, 0.02) + 0.07 * folds)


def _stripes(painter: Painter) -> Array:
    tile = _cloth(painter)
    for row in range(0, 10, 2):
        area(tile, (0, 1), (row / 10, (row + 1) / 10))[..., :3] *= 0.45
    return tile


def _fence(painter: Painter) -> Array:
    tile = painter.plain(grey(0.75), painter.rough(0.05, 0.04, 0.04, 0.03))
    for plank in range(8):
        area(tile, (plank / 8, plank / 8 + 0.012), (0, 1))[..., :3] *= 0.35
        area(tile, (plank / 8, (plank + 1) / 8), (0, 1))[..., :3] *= painter.draw.uniform(0.85, 1.1)
    return tile


def _railing(painter: Painter) -> Array:
    tile = painter.plain(grey(0.22), painter.rough(0, 0, 0.03, 0), tint=0.3)
    tile[..., COVER] = 0
    for bar in range(12):
        area(tile, (bar / 12, bar / 12 + 0.03), (0, 1))[..., COVER] = 1
    for low in (0.06, 0.86):
        area(tile, (0, 1), (low, low + 0.07))[..., COVER] = 1
    return tile


def _sign(rim: tuple[float, float, float], inner: tuple[float, float, float], ink: float, word: str = "") -> Callable[[Painter], Array]:
    def paint(painter: Painter) -> Array:
        tile = painter.plain(rim, painter.rough(0.02, 0, 0, 0), tint=0, gloss=0.15)
        canvas = np.ascontiguousarray(tile[..., :3])
        cv2.circle(canvas, (SIDE // 2, SIDE // 2), int(0.38 * SIDE), inner, cv2.FILLED, cv2.LINE_AA)
        if not word:
            cv2.rectangle(canvas, (120, 220), (SIDE - 120, SIDE - 220), grey(ink), cv2.FILLED)
        scale = 7.0 if len(word) < 3 else 4.5
        (wide, tall), _ = cv2.getTextSize(word, cv2.FONT_HERSHEY_DUPLEX, scale, 16)
        _letter(canvas, word, ((SIDE - wide) // 2, (SIDE + tall) // 2), scale, grey(ink), 16)
        tile[..., :3] = canvas
        return tile

    return paint


def _direction(painter: Painter) -> Array:
    tile = painter.plain((0.1, 0.25, 0.55), painter.rough(0.02, 0, 0, 0), tint=0, gloss=0.15)
    canvas = np.ascontiguousarray(tile[..., :3])
    cv2.rectangle(canvas, (14, 14), (SIDE - 14, SIDE - 14), grey(0.95), 10)
    for row in range(2):
        word = "".join(chr(65 + letter) for letter in painter.draw.integers(0, 26, 6))
        _letter(canvas, word, (70, 210 + 190 * row), 3.4, grey(0.95), 12)
    tile[..., :3] = canvas
    return tile


def _signals(painter: Painter) -> Array:
    """A traffic light: red above, then amber and green; v up."""
    tile = painter.plain(grey(0.1), painter.rough(0.02, 0, 0, 0), tint=0, gloss=0.1)
    canvas, glow = np.ascontiguousarray(tile[..., :3]), np.zeros((SIDE, SIDE), np.float32)
    lit = int(painter.draw.integers(3))
    for lamp, colour in enumerate(((0.95, 0.12, 0.08), (0.95, 0.6, 0.1), (0.1, 0.85, 0.4))):
        at = (SIDE // 2, int(SIDE * (lamp + 0.5) / 3))
        shown = colour if lamp == lit else tuple(0.25 * value for value in colour)
        cv2.circle(canvas, at, 72, shown, cv2.FILLED, cv2.LINE_AA)
        if lamp == lit:
            cv2.circle(glow, at, 72, 1.0, cv2.FILLED)
    tile[..., :3], tile[..., GLOW] = canvas, glow
    return tile


def _plain(painter: Painter) -> Array:
    return painter.plain(grey(1.0), painter.rough(0.02, 0.01, 0, 0.01))


def _varnished(painter: Painter) -> Array:
    return painter.plain(grey(1.0), painter.rough(0.004, 0.004, 0, 0), gloss=0.55)


def _glowing(painter: Painter) -> Array:
    tile = painter.plain((1.0, 0.95, 0.85), painter.rough(0, 0, 0, 0), tint=0, gloss=0.2)
    tile[..., GLOW] = 1
    return tile


FACADES, GROUND_FLOORS = 8, 2
_TILES: dict[str, Callable[[Painter], Array]] = {
    "asphalt": _asphalt, "paving": _paving, "grass": _grass, "plaster": _plaster, "bricks": _bricks, "shingles": _shingles, "bark": _bark,
    "leaves": _leaves(1.0, (9, 17)), "needles": _leaves(0.9, (4, 12)), "tuft": _leaves(0.45, (10, 20)), "hedge": _hedge,
    "car side": _car_side, "car front": _car_front, "car rear": _car_rear, "car glass": _car_glass, "car screen": _car_screen,
    "wheel": _wheel, "face": _face, "cloth": _cloth, "stripes": _stripes, "fence": _fence, "railing": _railing,
    "limit": _sign((0.75, 0.06, 0.06), grey(0.95), 0.05, "30"), "no way": _sign((0.75, 0.06, 0.06), (0.75, 0.06, 0.06), 0.95),
    "parking": _sign((0.1, 0.25, 0.6), (0.1, 0.25, 0.6), 0.95, "P"), "direction": _direction, "signals": _signals,
    "plain": _plain, "glossy": _varnished,
    "lamp": _glowing,
    **{f"facade {number}": partial(_facade, brick=number % 2 == 1) for number in range(FACADES)},
    **{f"ground floor {number}": _ground_floor for number in range(GROUND_FLOORS)},
}  # fmt: skip


def draw_atlas(draw: np.random.Generator) -> Atlas:
    painter = Painter(draw)
    tiles = [np.clip(paint(painter) * 255 + 0.5, 0, 255).astype(np.uint8) for paint in _TILES.values()]
    colours, others = [], []
    for level in range(_LEVELS):
        if level:
            half = (SIDE >> level, SIDE >> level)
            tiles = [np.asarray(cv2.resize(tile, half, interpolation=cv2.INTER_AREA), np.uint8) for tile in tiles]
        whole = np.concatenate([np.pad(tile, ((1, 1), (1, 1), (0, 0)), "wrap") for tile in tiles])
        colours.append(np.ascontiguousarray(whole[..., :4]))
        others.append(np.ascontiguousarray(whole[..., 4:]))
    return Atlas({name: number for number, name in enumerate(_TILES)}, colours, others)
