"""Augmentation: another view and other colours, the same for a window and its examples."""

from __future__ import annotations

import cv2
import numpy as np

from stages.conditions.view import View


class Colours:
    """Other colours for uint8 images [H, W, 3]: per channel a contrast and a brightness, then a turn of the hue in degrees."""

    def __init__(self, gain: np.ndarray, brightness: float, hue: float = 0.0) -> None:
        self.table = np.clip(np.arange(256)[:, None] * gain + brightness, 0, 255).astype(np.uint8)[None]
        self.turn = _hue_turn(hue) if hue else None

    def __call__(self, image: np.ndarray) -> np.ndarray:
        changed = cv2.LUT(image, self.table)
        return changed if self.turn is None else cv2.transform(changed, self.turn)


def draw_colours(draw: np.random.Generator, strength: float, most_hue: float) -> Colours:
    """Contrast and brightness always, another hue with probability 1/2."""
    gain = np.exp(strength * (draw.uniform(-0.15, 0.15) + draw.uniform(-0.08, 0.08, 3)))
    brightness = strength * draw.uniform(-20, 20)
    hue = strength * draw.uniform(-most_hue, most_hue) if most_hue and draw.random() < 0.5 else 0.0
    return Colours(gain, brightness, hue)


def draw_view(draw: np.random.Generator, source: tuple[int, int], height: int, width: int, strength: float) -> View:
    """A random shift, scale, rotation and mirror image of an image of size `source` (height, width), as a view of `height` x `width`."""
    scale = height / source[0] * np.exp(strength * draw.uniform(-0.1, 0.1))
    degrees = strength * draw.uniform(-8, 8)
    shift = strength * draw.uniform(-0.05, 0.05, 2) * height
    mirrored = strength > 0 and draw.random() < 0.5
    return View.rotated(source, height, width, scale=scale, degrees=degrees, shift=shift, mirrored=mirrored)


def _hue_turn(degrees: float) -> np.ndarray:
    """The rotation about the axis of greys, [3, 3]."""
    cosine, sine = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees)) / np.sqrt(3)
    across = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]])
    return np.asarray(cosine * np.eye(3) + (1 - cosine) / 3 + sine * across, np.float32)
