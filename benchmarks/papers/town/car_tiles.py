"""Tiles of cars. v points up."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from .painter import GLOW, SIDE, Painter, area, fill, grey

Array = NDArray[np.floating]


def car_side(painter: Painter) -> Array:
    """u from rear to front, v from the sill up."""
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


def car_front(painter: Painter) -> Array:
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


def car_rear(painter: Painter) -> Array:
    tile = painter.plain(grey(0.97), painter.rough(0.004, 0.004, 0, 0), gloss=0.5)
    fill(tile, (0, 1), (0, 0.14), grey(0.12))
    fill(tile, (0.02, 0.98), (0.36, 0.38), grey(0.3), tint=0.8)
    for left in (0.03, 0.77):
        fill(tile, (left, left + 0.2), (0.52, 0.82), (0.66, 0.04, 0.04), gloss=0.7)
        fill(tile, (left + 0.06, left + 0.14), (0.55, 0.61), (0.9, 0.55, 0.2), gloss=0.7)
        area(tile, (left, left + 0.2), (0.52, 0.82))[..., GLOW] = 0.35
    fill(tile, (0.34, 0.66), (0.48, 0.6), (0.92, 0.85, 0.4))
    return tile


def car_glass(painter: Painter) -> Array:
    """The side windows, u from rear to front, with pillars in the colour of the car."""
    tile = painter.plain(grey(0.12), painter.rough(0.1, 0, 0, 0), tint=0, gloss=1.0)
    for left, right in ((0, 0.035), (0.49, 0.525), (0.965, 1)):
        fill(tile, (left, right), (0, 1), grey(0.9), tint=1, gloss=0.5)
    fill(tile, (0, 1), (0.93, 1), grey(0.9), tint=1, gloss=0.5)
    fill(tile, (0, 1), (0, 0.05), grey(0.1))
    return tile


def car_screen(painter: Painter) -> Array:
    """Windscreen or rear window."""
    tile = painter.plain(grey(0.12), painter.rough(0.1, 0, 0, 0), tint=0, gloss=1.0)
    for left in (0, 0.955):
        fill(tile, (left, left + 0.045), (0, 1), grey(0.9), tint=1, gloss=0.5)
    fill(tile, (0, 1), (0.95, 1), grey(0.9), tint=1, gloss=0.5)
    fill(tile, (0, 1), (0, 0.06), grey(0.06))
    return tile


def wheel(painter: Painter) -> Array:
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
