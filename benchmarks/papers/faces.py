"""Painted faces: eyes, brows, nose, mouth, beard and glasses, as a decal on the front of the head."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from textures import Colour, Image, hex_colour, noise

SIDE = 256
REACH = 0.5
"""The image shows a square whose side is the head's height.

The point between the eyes is at REACH from the left, and at _SHARE_ABOVE from the top.
"""
_SHARE_ABOVE = 0.4
SKINS = ("f6d7c3", "efc4a6", "e8b48f", "d9a17a", "c68a5f", "ad7148", "8d5635", "6e4128", "52301f", "3b2217", "f3cdb5", "e0aa84")
HAIRS = ("17120f", "241a14", "3a261a", "54371f", "7a5230", "a67a45", "d0ab6a", "8c3b1c", "9b9a98", "d9d6d0", "2c2a2e", "5d2a2a")
_EYES = ("3a2416", "5a3a20", "4a6a8a", "5c7a4a", "6b7680", "22150d")


@dataclass(frozen=True)
class Face:
    """Colours; sizes of eyes, mouth and brows relative to the average; strengths of beard and lashes in [0, 1].

    smile: how far the corners of the mouth are raised; negative if they are lowered.
    """

    skin: Colour
    hair: Colour
    iris: Colour
    lips: Colour
    eyes: float = 1.0
    mouth: float = 1.0
    smile: float = 0.3
    brows: float = 1.0
    beard: float = 0.0
    glasses: bool = False
    lashes: float = 0.3


def draw_face(rng: np.random.Generator, feminine: float) -> Face:
    base = hex_colour(str(rng.choice(SKINS))) * (1, 0.95, 0.89) * rng.uniform(0.88, 1.0)
    skin = np.clip(base + rng.normal(0, 0.008, 3), 0, 1).astype(np.float32)
    dark = float(skin.mean()) < 0.5
    hair = hex_colour(str(rng.choice(HAIRS[:4] if dark or rng.random() < 0.25 else HAIRS))) * rng.uniform(0.85, 1.15)
    if rng.random() < 0.05:
        hair = rng.uniform(0.1, 0.9, 3)
    lips = np.clip(skin * (0.86, 0.6, 0.6) + feminine * rng.uniform(0, 0.5) * (np.array([0.7, 0.1, 0.2]) - skin), 0, 1)
    return Face(
        skin=skin,
        hair=np.clip(hair, 0.02, 0.95).astype(np.float32),
        iris=hex_colour(str(rng.choice(_EYES[:2] if dark else _EYES))),
        lips=lips.astype(np.float32),
        eyes=float(rng.uniform(0.9, 1.25)),
        mouth=float(rng.uniform(0.85, 1.2)),
        smile=float(rng.uniform(-0.2, 1.0)),
        brows=float(rng.uniform(0.6, 1.3) * (1.2 - 0.4 * feminine)),
        beard=float(rng.uniform(0.25, 1.0)) if feminine < 0.5 and rng.random() < 0.4 else 0.0,
        glasses=bool(rng.random() < 0.18),
        lashes=float(feminine * rng.uniform(0.3, 1.0)),
    )


def paint_face(face: Face, rng: np.random.Generator) -> Image:
    """The decal, RGBA [SIDE, SIDE, 4]."""
    brush = _Brush(face.skin)
    brush.blob((0, 0.33), (0.3, 0.2), face.hair * 0.8 + 0.2 * face.skin, 0.75 * face.beard, 9)
    if face.beard:
        brush.blob((0, 0.235), (0.12, 0.022), face.hair * 0.8, 0.6 * face.beard, 3)
        brush.alpha *= 1 - 0.15 * np.clip(noise(rng, SIDE, 60, 1), -1, 1)
    for side in (-1, 1):
        brush.blob((side * 0.2, 0.16), (0.08, 0.06), np.clip(face.skin * (1.04, 0.82, 0.82), 0, 1), 0.35 * (1 - face.beard), 11)
        brush.blob((side * 0.14, 0.0), (0.085, 0.06), face.skin * (0.72, 0.64, 0.62), 0.6, 5)
    brush.blob((0.0, 0.17), (0.07, 0.016), face.skin * (0.6, 0.5, 0.48), 0.7, 3)
    _paint_eyes(brush, face)
    _paint_mouth(brush, face)
    if face.glasses:
        frame = rng.uniform(0.02, 0.35) * np.ones(3)
        for side in (-1, 1):
            brush.ring((side * 0.145, 0.01), (0.1, 0.075), frame, 0.018)
        brush.line((-0.05, -0.01), (0.05, -0.01), frame, 0.016)
    return brush.image()


def _paint_eyes(brush: _Brush, face: Face) -> None:
    size = face.eyes
    for side in (-1, 1):
        x = side * 0.14
        brush.blob((x, 0), (0.062 * size, 0.031 * size), np.array([0.9, 0.88, 0.86]) * (0.5 + 0.5 * face.skin.mean()), 1.0, 1)
        brush.blob((x, 0.0), (0.03 * size, 0.032 * size), face.iris, 1.0, 1)
        brush.blob((x, 0.0), (0.014 * size, 0.015 * size), np.array([0.02, 0.02, 0.02]), 1.0, 1)
        lid = face.skin * 0.3
        brush.line((x - 0.066 * size, -0.008), (x, -0.036 * size), lid, 0.012 + 0.014 * face.lashes)
        brush.line((x, -0.036 * size), (x + 0.066 * size, -0.008), lid, 0.012 + 0.014 * face.lashes)
        brow = 0.75 * face.hair + 0.1 * face.skin
        brush.line((x - side * 0.07, -0.095), (x + side * 0.02, -0.115), brow, 0.028 * face.brows)
        brush.line((x + side * 0.02, -0.115), (x + side * 0.085, -0.09), brow, 0.02 * face.brows)


def _paint_mouth(brush: _Brush, face: Face) -> None:
    half_width, lift = 0.11 * face.mouth, 0.03 * face.smile
    brush.blob((0, 0.268), (0.8 * half_width, 0.018), face.lips * 0.92, 0.95, 2)
    brush.blob((0, 0.302), (0.72 * half_width, 0.024), face.lips, 0.95, 2)
    dark = face.lips * 0.35
    for side in (-1, 1):
        brush.line((0, 0.284), (side * half_width, 0.284 - lift), dark, 0.012)
    if face.smile > 0.75:
        brush.blob((0, 0.288), (0.6 * half_width, 0.012), np.array([0.95, 0.93, 0.9]), 1.0, 1)


class _Brush:
    """Paints on a canvas. Coordinates and sizes are relative to the head's height: x right, y down, the origin between the eyes."""

    def __init__(self, ground: Colour) -> None:
        self.colours = np.broadcast_to(ground, (SIDE, SIDE, 3)).astype(np.float32).copy()
        self.alpha = np.zeros((SIDE, SIDE), np.float32)

    def blob(self, centre: tuple[float, float], radii: tuple[float, float], paint: Colour, strength: float, blur: int) -> None:
        mask = np.zeros((SIDE, SIDE), np.float32)
        cv2.ellipse(mask, self._pixel(centre), tuple(max(1, round(r * SIDE)) for r in radii), 0, 0, 360, 1.0, cv2.FILLED, cv2.LINE_8)
        self._blend(cv2.GaussianBlur(mask, (0, 0), blur) * strength, paint)

    def line(self, start: tuple[float, float], end: tuple[float, float], paint: Colour, width: float) -> None:
        mask = np.zeros((SIDE, SIDE), np.float32)
        cv2.line(mask, self._pixel(start), self._pixel(end), 1.0, max(1, round(width * SIDE)))
        self._blend(np.asarray(cv2.GaussianBlur(mask, (0, 0), 0.8), np.float32), paint)

    def ring(self, centre: tuple[float, float], radii: tuple[float, float], paint: Colour, width: float) -> None:
        mask = np.zeros((SIDE, SIDE), np.float32)
        cv2.ellipse(mask, self._pixel(centre), tuple(round(r * SIDE) for r in radii), 0, 0, 360, 1.0, max(1, round(width * SIDE)))
        self._blend(np.asarray(cv2.GaussianBlur(mask, (0, 0), 0.8), np.float32), paint)

    def image(self) -> Image:
        return np.dstack([self.colours, self.alpha])

    def _pixel(self, position: tuple[float, float]) -> tuple[int, int]:
        return round((position[0] + REACH) * SIDE), round((position[1] + _SHARE_ABOVE) * SIDE)

    def _blend(self, mask: Image, paint: Colour) -> None:
        self.colours += (np.asarray(paint, np.float32) - self.colours) * mask[..., None]
        self.alpha = np.maximum(self.alpha, mask)


def decal_square(eyes: np.ndarray, head_height: float) -> tuple[float, float, float]:
    """Left x, top y and side of the square that the decal covers, in metres. eyes [3]: the point between the eyes."""
    return float(eyes[0]) - REACH * head_height, float(eyes[1]) + _SHARE_ABOVE * head_height, head_height
