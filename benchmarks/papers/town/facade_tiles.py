"""Tiles of house fronts: plaster and bricks, windows, ground floors with shops and doors."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from .painter import GLOSS, GLOW, SIDE, TINT, Colour, Painter, area, fill, grey, random_colour, write_text

Array = NDArray[np.floating]

WINDOWS = 4
"""Windows across and up on a tile of a facade."""
SHOPS = 4
"""Rows of a ground-floor tile: two of shops, one of doors and windows, one of windows alone."""


def plaster(painter: Painter) -> Array:
    tile = painter.plain(grey(0.82), painter.rough(0.04, 0.02, 0.015, 0.012))
    streaks = cv2.blur(np.roll(painter.fine, 99, 1), (3, 301))
    tile[..., :3] *= (1 + 0.12 * streaks)[..., None]
    return tile


def bricks(painter: Painter) -> Array:
    """A tile of 80 rows of bricks, about eight metres."""
    tile = painter.plain(grey(0.66), painter.rough(0.03, 0.02, 0, 0.03))
    shade = painter.rng.uniform(0.78, 1.1, (80, 28)).astype(np.float32)
    rows, columns = np.mgrid[:SIDE, :SIDE].astype(np.float32) / SIDE
    row = (rows * 80).astype(int)
    position = columns * 28 + 0.5 * (row % 2)
    brick = shade[row, position.astype(int) % 28] * np.float32(0.86)
    mortar = ((rows * 80) % 1 < 0.18) | (position % 1 < 0.08)
    tile[..., :3] *= np.where(mortar, 1.06, brick)[..., None]
    tile[..., TINT] = np.where(mortar, 0.6, 1)
    return tile


def facade(painter: Painter, brick: bool) -> Array:
    """Four windows on each of four floors."""
    rng = painter.rng
    tile = bricks(painter) if brick else plaster(painter)
    width, height = rng.uniform(0.38, 0.66), rng.uniform(0.5, 0.7)
    bars, low = int(rng.integers(0, 3)), rng.uniform(0.16, 0.24)
    frame = grey(rng.uniform(0.78, 0.92)) if rng.random() < 0.7 else grey(rng.uniform(0.15, 0.3))
    surround = rng.random() < 0.5
    for row in range(WINDOWS):
        if rng.random() < 0.4:
            area(tile, (0, 1), (row / WINDOWS, row / WINDOWS + 0.008))[..., :3] *= 0.82
        for column in range(WINDOWS):
            x, y = (column + 0.5 - width / 2) / WINDOWS, (row + low) / WINDOWS
            _window(painter, tile, (x, x + width / WINDOWS), (y, y + height / WINDOWS), frame, bars, surround)
    return tile


def _window(
    painter: Painter,
    tile: Array,
    x: tuple[float, float],
    y: tuple[float, float],
    frame: Colour,
    bars: int,
    surround: bool,
) -> None:
    rng, rim = painter.rng, 0.009
    if surround:
        fill(tile, (x[0] - 0.02, x[1] + 0.02), (y[0] - 0.02, y[1] + 0.024), grey(0.86), tint=0.35)
    fill(tile, (x[0] - 0.024, x[1] + 0.024), (y[0] - 0.018, y[0]), grey(0.8), tint=0.3)
    area(tile, (x[0] - 0.02, x[1] + 0.02), (y[0] - 0.034, y[0] - 0.018))[..., :3] *= 0.72
    fill(tile, x, y, frame)
    x, y = (x[0] + rim, x[1] - rim), (y[0] + rim, y[1] - rim)
    fill(tile, x, y, (0.14, 0.17, 0.2), gloss=0.9)
    glass = area(tile, x, y)
    glass[..., :3] *= np.linspace(0.7, 1.5, len(glass))[:, None, None]
    if rng.random() < 0.35:
        area(tile, x, y)[..., GLOW] = rng.uniform(0.5, 1)
    if rng.random() < 0.55:
        share, light = rng.uniform(0.12, 0.3), rng.uniform(0.35, 0.7)
        for side in ((x[0], x[0] + share * (x[1] - x[0])), (x[1] - share * (x[1] - x[0]), x[1])):
            curtain = area(tile, side, y)
            curtain[..., :3] = light * (0.9 + 0.1 * np.sin(np.arange(curtain.shape[1]) * 0.9))[:, None]
            curtain[..., GLOSS] = 0.5
    elif rng.random() < 0.3:
        fill(tile, x, (y[1] - rng.uniform(0.2, 0.9) * (y[1] - y[0]), y[1]), grey(rng.uniform(0.5, 0.75)), gloss=0.4)
    for bar in range(bars):
        middle = x[0] + (x[1] - x[0]) * (bar + 1) / (bars + 1)
        fill(tile, (middle - 0.004, middle + 0.004), y, frame)
    if bars:
        fill(tile, x, (y[0] + 0.6 * (y[1] - y[0]) - 0.004, y[0] + 0.6 * (y[1] - y[0]) + 0.004), frame)
    area(tile, x, (y[1] - 0.012, y[1]))[..., :3] *= 0.55
    area(tile, (x[0], x[0] + 0.006), y)[..., :3] *= 0.6


def ground_floor(painter: Painter) -> Array:
    rng = painter.rng
    tile = plaster(painter)
    for row in range(SHOPS):
        low = row / SHOPS
        for column in range(WINDOWS):
            x = column / WINDOWS
            if row < 2:
                _shop(painter, tile, x, low)
            elif row == 2 and column % 2 == int(rng.integers(2)):
                colour = random_colour(rng, 0.15, 0.6, 0.2)
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
    """A shop window with goods, a sign above it, and a door."""
    rng = painter.rng
    colour = random_colour(rng, 0.15, 0.7, 0.16)
    fill(tile, (x + 0.008, x + 0.242), (low, low + 0.235), colour, gloss=0.1)
    fill(tile, (x + 0.02, x + 0.17), (low + 0.035, low + 0.165), (0.2, 0.21, 0.22), gloss=0.8)
    pane = area(tile, (x + 0.02, x + 0.17), (low + 0.035, low + 0.165))
    pane[..., GLOW] = rng.uniform(0.4, 1.0)
    for _ in range(9):
        left, height = rng.uniform(x + 0.025, x + 0.15), rng.uniform(0.01, 0.07)
        goods = random_colour(rng, 0.2, 0.6, 0.12)
        fill(tile, (left, left + rng.uniform(0.008, 0.02)), (low + 0.04, low + 0.04 + height), goods, gloss=0.6)
    fill(tile, (x + 0.18, x + 0.232), (low, low + 0.165), (0.16, 0.17, 0.19), gloss=0.8)
    area(tile, (x + 0.02, x + 0.232), (low + 0.155, low + 0.165))[..., :3] *= 0.5
    word = "".join(chr(65 + letter) for letter in rng.integers(0, 26, rng.integers(4, 8)))
    board = np.ascontiguousarray(area(tile, (x + 0.008, x + 0.242), (low + 0.178, low + 0.228))[..., :3])
    ink = grey(0.92) if sum(colour) < 1.2 else grey(0.1)
    write_text(board, word, (8, board.shape[0] - 6), 0.62, ink, 1)
    area(tile, (x + 0.008, x + 0.242), (low + 0.178, low + 0.228))[..., :3] = board
