"""Textures: seamless tiles of fabrics, grounds and walls, and decals such as prints, which are placed on the front of a part.

Colours are sRGB in [0, 1], float32. A tile is [SIDE, SIDE, 3]; a decal is RGBA [SIDE, SIDE, 4].
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.floating]
Colour = NDArray[np.floating]

SIDE = 256
"""Side of tiles and decals in pixels."""
_NEUTRALS = (
    "17181b",
    "2b2d33",
    "f2f0ea",
    "dedbd2",
    "8c8f94",
    "555b63",
    "1f2a44",
    "2e3f5c",
    "c8b594",
    "7a5c41",
    "4a3526",
    "b9bcc0",
    "36402f",
)


def hex_colour(text: str) -> Colour:
    """A colour from six hexadecimal digits."""
    return np.array(list(bytes.fromhex(text)), np.float32) / 255


def cloth_colour(rng: np.random.Generator, neutral: float = 0.45) -> Colour:
    """A random colour of clothes: neutral with the probability `neutral`, else of any hue."""
    if rng.random() < neutral:
        return np.clip(hex_colour(str(rng.choice(_NEUTRALS))) + rng.normal(0, 0.02, 3).astype(np.float32), 0.02, 0.97)
    hue, strength, value = rng.random(), rng.beta(2.6, 2.6), 0.22 + 0.7 * rng.beta(2.0, 1.8)
    return np.array(colorsys.hsv_to_rgb(hue, strength, value), np.float32)


def contrasting_colour(rng: np.random.Generator, base: Colour) -> Colour:
    """A random colour of clothes that differs clearly from `base`."""
    other = cloth_colour(rng)
    for _ in range(8):
        if np.abs(other - base).sum() > 0.6:
            break
        other = cloth_colour(rng)
    return other


def noise(rng: np.random.Generator, side: int, cells: int, octaves: int = 4, squeeze: tuple[int, int] = (1, 1)) -> Image:
    """Seamless noise [side, side] with a mean of about 0 and a standard deviation of 1.

    The coarsest octave has cells * squeeze[0] rows and cells * squeeze[1] columns; each further octave doubles both numbers.
    """
    total = np.zeros((side, side), np.float32)
    for octave in range(octaves):
        rows, columns = (min(side, cells * factor * 2**octave) for factor in squeeze)
        grid = np.pad(rng.normal(size=(rows, columns)).astype(np.float32), 3, mode="wrap")
        y, x = (np.arange(side, dtype=np.float32) * count / side + 3 for count in (rows, columns))
        across, down = np.meshgrid(x, y)
        total += cv2.remap(grid, across, down, cv2.INTER_CUBIC) * 0.55**octave
    return total / max(float(total.std()), 1e-6)


def mix(one: Colour, other: Colour, share: Image) -> Image:
    """Two colours mixed by the share [...] of the second one: [..., 3]."""
    return (one + (other - one) * np.clip(share, 0, 1)[..., None]).astype(np.float32)


def _axes() -> tuple[Image, Image]:
    """x and y in [0, 1] of each pixel of a tile, [SIDE, SIDE] each."""
    axis = (np.arange(SIDE, dtype=np.float32) + 0.5) / SIDE
    return np.broadcast_to(axis, (SIDE, SIDE)), np.broadcast_to(axis[:, None], (SIDE, SIDE))


def _bands(position: Image, count: int, share: float) -> Image:
    """`count` bands with soft edges: 1 on a share of each period, else 0. position: in [0, 1] across the bands."""
    phase = np.abs((position * count) % 1 - 0.5) * 2
    return np.clip((share - phase) * SIDE / count / 3 + 0.5, 0, 1)


def _plain(rng: np.random.Generator, base: Colour) -> Image:
    return np.broadcast_to(base, (SIDE, SIDE, 3)).astype(np.float32)


def _hoops(rng: np.random.Generator, base: Colour) -> Image:
    return mix(base, contrasting_colour(rng, base), _bands(_axes()[1], int(rng.integers(3, 10)), rng.uniform(0.25, 0.6)))


def _stripes(rng: np.random.Generator, base: Colour) -> Image:
    return mix(base, contrasting_colour(rng, base), _bands(_axes()[0], int(rng.integers(4, 12)), rng.uniform(0.15, 0.5)))


def _checks(rng: np.random.Generator, base: Colour) -> Image:
    x, y = _axes()
    count = int(rng.integers(3, 8))
    share = rng.uniform(0.35, 0.55)
    woven = 0.5 * (_bands(x, count, share) + _bands(y, count, share))
    thin = 0.4 * np.maximum(_bands(x + 0.25 / count, count, 0.08), _bands(y + 0.25 / count, count, 0.08))
    return mix(mix(base, contrasting_colour(rng, base), woven), contrasting_colour(rng, base), thin)


def _dots(rng: np.random.Generator, base: Colour) -> Image:
    count = int(rng.integers(3, 8))
    x, y = (axis * count for axis in _axes())
    away = np.minimum(np.hypot(x % 1 - 0.5, y % 1 - 0.5), np.hypot((x + 0.5) % 1 - 0.5, (y + 0.5) % 1 - 0.5))
    return mix(base, contrasting_colour(rng, base), (rng.uniform(0.14, 0.28) - away) * SIDE / count / 2 + 0.5)


def _flowers(rng: np.random.Generator, base: Colour) -> Image:
    tile = _plain(rng, base).copy()
    inks = [contrasting_colour(rng, base) for _ in range(3)]
    for _ in range(int(rng.integers(14, 40))):
        centre, radius, ink = rng.uniform(0, SIDE, 2), rng.uniform(6, 22), inks[rng.integers(3)]
        petals, turn = rng.integers(3, 7), rng.uniform(0, 2 * np.pi)
        for shift in np.stack(np.meshgrid((-SIDE, 0, SIDE), (-SIDE, 0, SIDE)), -1).reshape(-1, 2):
            for angle in turn + np.arange(petals) * 2 * np.pi / petals:
                at = centre + shift + 0.6 * radius * np.array([np.cos(angle), np.sin(angle)])
                cv2.circle(tile, (int(at[0]), int(at[1])), int(0.55 * radius), ink.tolist(), cv2.FILLED, cv2.LINE_AA)
            cv2.circle(tile, tuple(int(value) for value in centre + shift), int(0.3 * radius), inks[0].tolist(), cv2.FILLED, cv2.LINE_AA)
    return tile


def _camouflage(rng: np.random.Generator, base: Colour) -> Image:
    tile = _plain(rng, base)
    for level in (0.35, 0.7):
        tile = mix(tile, np.clip(base * rng.uniform(0.45, 1.6) + rng.normal(0, 0.05, 3), 0, 1), (noise(rng, SIDE, 4, 2) - level) * 6)
    return tile


def _melange(rng: np.random.Generator, base: Colour) -> Image:
    return np.clip(base + 0.05 * noise(rng, SIDE, 40, 2, (1, 3))[..., None], 0, 1)


def _knit(rng: np.random.Generator, base: Colour) -> Image:
    x, y = _axes()
    count = int(rng.integers(10, 18))
    cable = np.abs(np.sin(np.pi * count * x)) * (0.75 + 0.25 * np.sin(2 * np.pi * (1.5 * count * y + np.abs((count * x) % 1 - 0.5))))
    return (base * (0.72 + 0.4 * cable)[..., None]).astype(np.float32)


def _blocks(rng: np.random.Generator, base: Colour) -> Image:
    return mix(base, contrasting_colour(rng, base), _bands(_axes()[1] + rng.random(), 1, rng.uniform(0.3, 0.6)))


def _zigzag(rng: np.random.Generator, base: Colour) -> Image:
    x, y = _axes()
    count = int(rng.integers(4, 9))
    return mix(base, contrasting_colour(rng, base), _bands(y + np.abs((x * count) % 1 - 0.5) / count, count, rng.uniform(0.3, 0.6)))


FABRICS: dict[str, tuple[Callable[[np.random.Generator, Colour], Image], float]] = {
    "plain": (_plain, 5.0), "hoops": (_hoops, 1.6), "stripes": (_stripes, 1.0), "checks": (_checks, 1.3), "dots": (_dots, 0.7),
    "blooms": (_flowers, 1.0), "camouflage": (_camouflage, 0.5), "melange": (_melange, 1.5), "knit": (_knit, 0.8), "blocks": (_blocks, 0.7),
    "zigzag": (_zigzag, 0.5),
}  # fmt: skip
"""name -> (a function that makes a tile from a base colour, its relative frequency)."""


def fabric(rng: np.random.Generator, base: Colour, plainness: float = 1.0) -> Image:
    """A tile of a random fabric. plainness: factor of the frequency of fabrics without a pattern."""
    weights = np.array([weight * (plainness if name in ("plain", "melange") else 1) for name, (_, weight) in FABRICS.items()])
    make, _ = FABRICS[str(rng.choice(list(FABRICS), p=weights / weights.sum()))]
    return uneven_tile(rng, make(rng, base), 0.05)


def uneven_tile(rng: np.random.Generator, tile: Image, amount: float) -> Image:
    """The tile with coarse and fine noise of the relative amplitude `amount` in its brightness."""
    uneven = amount * (0.6 * noise(rng, SIDE, 3, 4) + 0.5 * rng.normal(size=(SIDE, SIDE)))
    return np.clip(tile * (1 + uneven[..., None]), 0, 1).astype(np.float32)


def denim(rng: np.random.Generator, base: Colour) -> Image:
    x, y = _axes()
    twill = 0.08 * np.sin(2 * np.pi * 60 * (x + y)) + 0.1 * noise(rng, SIDE, 3, 3, (1, 2)) + 0.06 * noise(rng, SIDE, 50, 1)
    return np.clip(base * (1 + twill[..., None]) + 0.06 * twill[..., None], 0, 1).astype(np.float32)


def strands(rng: np.random.Generator, base: Colour) -> Image:
    """A tile of hair: streaks along y."""
    streaks = 0.22 * noise(rng, SIDE, 24, 3, (1, 5)) * np.array([[1.0]], np.float32)
    streaks = np.asarray(cv2.GaussianBlur(streaks, (1, 31), 0), np.float32)
    return np.clip(base * (1 + 1.6 * streaks[..., None]) + 0.04 * np.maximum(streaks, 0)[..., None], 0, 1).astype(np.float32)


def skin_tile(rng: np.random.Generator, base: Colour) -> Image:
    blotches = noise(rng, SIDE, 4, 4)[..., None] * np.array([0.015, 0.03, 0.03], np.float32)
    return np.clip(base * (1 + blotches), 0, 1).astype(np.float32)


def print_decal(rng: np.random.Generator, base: Colour) -> Image:
    """A decal for the front of a shirt: shapes or letters on a transparent ground."""
    ink, other = contrasting_colour(rng, base), contrasting_colour(rng, base)
    canvas = np.zeros((SIDE, SIDE, 4), np.float32)
    middle = (SIDE // 2, SIDE // 2)
    kind = rng.choice(["disc", "letters", "star", "box", "bars"])
    full = (*ink.tolist(), 1.0)
    if kind == "disc":
        cv2.circle(canvas, middle, 100, full, cv2.FILLED, cv2.LINE_AA)
        cv2.circle(
            canvas, (middle[0], middle[1] + int(rng.integers(-30, 30))), int(rng.integers(30, 75)), (*other.tolist(), 1.0), cv2.FILLED
        )
    elif kind == "letters":
        stencil = np.zeros((SIDE, SIDE), np.uint8)
        for row in range(int(rng.integers(1, 4))):
            word = "".join(chr(65 + letter) for letter in rng.integers(0, 26, rng.integers(3, 6)))
            cv2.putText(stencil, word, (14, 80 + 70 * row), cv2.FONT_HERSHEY_DUPLEX, 2.3, 255, 8)
        canvas[stencil > 0] = full
    elif kind == "star":
        angles = np.arange(10) * np.pi / 5 - np.pi / 2
        reach = np.where(np.arange(10) % 2, rng.uniform(35, 60), 115)
        points = np.stack([np.cos(angles), np.sin(angles)], -1) * reach[:, None] + SIDE / 2
        cv2.fillPoly(canvas, [points.astype(np.int32)], full, cv2.LINE_AA)
    elif kind == "box":
        cv2.rectangle(canvas, (20, 50), (236, 206), full, cv2.FILLED)
        cv2.rectangle(canvas, (45, int(rng.integers(70, 120))), (211, 180), (*other.tolist(), 1.0), cv2.FILLED)
    else:
        for bar in range(int(rng.integers(2, 5))):
            cv2.rectangle(canvas, (0, 60 + 45 * bar), (255, 84 + 45 * bar), (*(ink if bar % 2 else other).tolist(), 1.0), cv2.FILLED)
    return canvas


def button_decal(rng: np.random.Generator, base: Colour) -> Image:
    """A decal of buttons or a zip down the middle."""
    canvas = np.zeros((SIDE, SIDE, 4), np.float32)
    dark, ink = (*(0.55 * base).tolist(), 0.9), (*contrasting_colour(rng, base).tolist(), 1.0)
    cv2.line(canvas, (134, 0), (134, 255), dark, 5)
    if rng.random() < 0.35:
        cv2.line(canvas, (128, 0), (128, 255), (0.7, 0.7, 0.72, 1.0), 7)
        return canvas
    for y in range(16, SIDE, 36):
        cv2.circle(canvas, (126, y), 6, ink, cv2.FILLED, cv2.LINE_AA)
    return canvas
