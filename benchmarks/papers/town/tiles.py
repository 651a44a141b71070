"""All tiles of a town by name, and those of grounds, plants, people, fences and signs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray
from textures import noise

from .car_tiles import car_front, car_glass, car_rear, car_screen, car_side, wheel
from .facade_tiles import bricks, facade, ground_floor, plaster
from .painter import ALPHA, GLOW, SIDE, Colour, Painter, area, fill, grey, write_text

Array = NDArray[np.floating]


def _asphalt(painter: Painter) -> Array:
    return painter.plain(grey(0.38), painter.rough(0.015, 0.02, 0.035, 0.09))


def _paving(painter: Painter) -> Array:
    tile = painter.plain(grey(0.56), painter.rough(0.05, 0.03, 0.03, 0.03))
    for row in range(6):
        for column in range(4):
            x, y = (column + 0.5 * (row % 2)) / 4, row / 6
            for left in (x, x - 1):
                if left < 1 and left + 0.25 > 0:
                    area(tile, (left, left + 0.25), (y, y + 1 / 6))[..., :3] *= painter.rng.uniform(0.96, 1.03)
                    area(tile, (left, left + 0.008), (y, y + 1 / 6))[..., :3] *= 0.75
        area(tile, (0, 1), (row / 6, row / 6 + 0.008))[..., :3] *= 0.75
    return tile


def _grass(painter: Painter) -> Array:
    tile = painter.plain((0.35, 0.42, 0.22), painter.rough(0.08, 0.08, 0.1, 0.1))
    tile[..., 0] *= painter.rough(0.06, 0.05, 0)
    return tile


def _shingles(painter: Painter) -> Array:
    tile = painter.plain(grey(0.6), painter.rough(0.06, 0.05, 0.02, 0.03))
    rows, columns = np.mgrid[:SIDE, :SIDE].astype(np.float32) / SIDE
    row = (rows * 16).astype(int)
    shade = painter.rng.uniform(0.88, 1.1, (16, 24)).astype(np.float32)
    position = columns * 24 + 0.5 * (row % 2)
    wave = 0.8 + 0.25 * ((rows * 16) % 1)
    tile[..., :3] *= (shade[row, position.astype(int) % 24] * wave * np.where(position % 1 < 0.08, 0.8, 1))[..., None]
    return tile


def _bark(painter: Painter) -> Array:
    streaks = noise(painter.rng, SIDE, 6, 4, (1, 5))
    return painter.plain((0.42, 0.36, 0.3), 1 + 0.22 * streaks)


def _leaves(dense: float, size: tuple[int, int]) -> Callable[[Painter], Array]:
    """A tuft of leaves from dark to light, with gaps towards the rim of the tile.

    dense: share of the leaves that are drawn; size: their range in pixels.
    """

    def paint(painter: Painter) -> Array:
        rng = painter.rng
        rough = painter.rough(0.1, 0.1, 0, 0)
        canvas, alpha = np.full((SIDE, SIDE, 3), 0.45, np.float32), np.zeros((SIDE, SIDE), np.float32)
        count = 1100
        radius = np.sqrt(rng.uniform(0, 1, count)) * 0.47 * SIDE
        angle = rng.uniform(0, 2 * np.pi, count)
        lobes = 1 + 0.16 * np.sin(3 * angle + rng.uniform(0, 6)) + 0.12 * np.sin(7 * angle + rng.uniform(0, 6))
        x, y = (SIDE / 2 + 0.86 * radius * lobes * way(angle) for way in (np.cos, np.sin))
        for index in np.flatnonzero(rng.uniform(0, 1, count) < dense):
            light = float(0.34 + 0.32 * index / count + rng.normal(0, 0.05))
            axes = (int(rng.integers(*size)), int(rng.integers(size[0] // 2 + 1, size[1] // 2 + 2)))
            where = ((int(x[index]), int(y[index])), axes, float(rng.uniform(0, 360)), 0, 360)
            cv2.ellipse(canvas, *where, (light, light * 1.02, light * rng.uniform(0.75, 1.0)), cv2.FILLED)
            cv2.ellipse(alpha, *where, 1.0, cv2.FILLED)
        tile = painter.plain(grey(1.0), rough, gloss=0.04)
        tile[..., :3] *= canvas
        tile[..., ALPHA] = alpha
        return tile

    return paint


def _hedge(painter: Painter) -> Array:
    return painter.plain(grey(0.45), painter.rough(0.08, 0.16, 0.22, 0.14))


def _face(painter: Painter) -> Array:
    """u around a head; the face is at u = 0.5."""
    tile = painter.plain(grey(0.95), painter.rough(0.02, 0.02, 0, 0))
    for eye in (0.44, 0.53):
        fill(tile, (eye, eye + 0.03), (0.52, 0.56), grey(0.2))
        fill(tile, (eye - 0.005, eye + 0.035), (0.6, 0.615), grey(0.3), tint=0.8)
    fill(tile, (0.46, 0.54), (0.3, 0.325), (0.6, 0.32, 0.3), tint=0.6)
    area(tile, (0.49, 0.51), (0.38, 0.5))[..., :3] *= 0.85
    return tile


def _cloth(painter: Painter) -> Array:
    folds = noise(painter.rng, SIDE, 3, 3, (3, 1))
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
        area(tile, (plank / 8, (plank + 1) / 8), (0, 1))[..., :3] *= painter.rng.uniform(0.85, 1.1)
    return tile


def _railing(painter: Painter) -> Array:
    tile = painter.plain(grey(0.22), painter.rough(0, 0, 0.03, 0), tint=0.3)
    tile[..., ALPHA] = 0
    for bar in range(12):
        area(tile, (bar / 12, bar / 12 + 0.03), (0, 1))[..., ALPHA] = 1
    for low in (0.06, 0.86):
        area(tile, (0, 1), (low, low + 0.07))[..., ALPHA] = 1
    return tile


def _sign(rim: Colour, inner: Colour, ink: float, word: str = "") -> Callable[[Painter], Array]:
    def paint(painter: Painter) -> Array:
        tile = painter.plain(rim, painter.rough(0.02, 0, 0, 0), tint=0, gloss=0.15)
        canvas = np.ascontiguousarray(tile[..., :3])
        cv2.circle(canvas, (SIDE // 2, SIDE // 2), int(0.38 * SIDE), inner, cv2.FILLED, cv2.LINE_AA)
        if not word:
            cv2.rectangle(canvas, (120, 220), (SIDE - 120, SIDE - 220), grey(ink), cv2.FILLED)
        scale = 7.0 if len(word) < 3 else 4.5
        (width, height), _ = cv2.getTextSize(word, cv2.FONT_HERSHEY_DUPLEX, scale, 16)
        write_text(canvas, word, ((SIDE - width) // 2, (SIDE + height) // 2), scale, grey(ink), 16)
        tile[..., :3] = canvas
        return tile

    return paint


def _direction(painter: Painter) -> Array:
    tile = painter.plain((0.1, 0.25, 0.55), painter.rough(0.02, 0, 0, 0), tint=0, gloss=0.15)
    canvas = np.ascontiguousarray(tile[..., :3])
    cv2.rectangle(canvas, (14, 14), (SIDE - 14, SIDE - 14), grey(0.95), 10)
    for row in range(2):
        word = "".join(chr(65 + letter) for letter in painter.rng.integers(0, 26, 6))
        write_text(canvas, word, (70, 210 + 190 * row), 3.4, grey(0.95), 12)
    tile[..., :3] = canvas
    return tile


def _signals(painter: Painter) -> Array:
    """A traffic light with one lit lamp: red above, then amber and green."""
    tile = painter.plain(grey(0.1), painter.rough(0.02, 0, 0, 0), tint=0, gloss=0.1)
    canvas, glow = np.ascontiguousarray(tile[..., :3]), np.zeros((SIDE, SIDE), np.float32)
    lit = int(painter.rng.integers(3))
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
TILES: dict[str, Callable[[Painter], Array]] = {
    "asphalt": _asphalt, "paving": _paving, "grass": _grass, "plaster": plaster, "bricks": bricks, "shingles": _shingles, "bark": _bark,
    "leaves": _leaves(1.0, (9, 17)), "needles": _leaves(0.9, (4, 12)), "tuft": _leaves(0.45, (10, 20)), "hedge": _hedge,
    "car side": car_side, "car front": car_front, "car rear": car_rear, "car glass": car_glass, "car screen": car_screen,
    "wheel": wheel, "face": _face, "cloth": _cloth, "stripes": _stripes, "fence": _fence, "railing": _railing,
    "limit": _sign((0.75, 0.06, 0.06), grey(0.95), 0.05, "30"), "no way": _sign((0.75, 0.06, 0.06), (0.75, 0.06, 0.06), 0.95),
    "parking": _sign((0.1, 0.25, 0.6), (0.1, 0.25, 0.6), 0.95, "P"), "direction": _direction, "signals": _signals,
    "plain": _plain, "glossy": _varnished,
    "lamp": _glowing,
    **{f"facade {number}": partial(facade, brick=number % 2 == 1) for number in range(FACADES)},
    **{f"ground floor {number}": ground_floor for number in range(GROUND_FLOORS)},
}  # fmt: skip
