"""Augmentation: random views and colours, the same for a window and its examples."""

from __future__ import annotations

import cv2
import numpy as np

from stages.conditions.view import View


class Colours:
    """Changes the colours of uint8 images [H, W, 3]: image * gain + brightness, then a rotation of the hue.

    gain: one for each channel, [3]. brightness: in grey levels. hue: in degrees.
    """

    def __init__(self, gain: np.ndarray, brightness: float, hue: float = 0.0) -> None:
        self.table = np.clip(np.arange(256)[:, None] * gain + brightness, 0, 255).astype(np.uint8)[None]
        self.rotation = _hue_rotation(hue) if hue else None

    def __call__(self, image: np.ndarray) -> np.ndarray:
        changed = cv2.LUT(image, self.table)
        return changed if self.rotation is None else cv2.transform(changed, self.rotation)


def draw_colours(rng: np.random.Generator, strength: float, max_hue: float) -> Colours:
    """Random gains and brightness; with probability 1/2 also a rotation of the hue by up to `max_hue` degrees."""
    gain = np.exp(strength * (rng.uniform(-0.15, 0.15) + rng.uniform(-0.08, 0.08, 3)))
    brightness = strength * rng.uniform(-20, 20)
    hue = strength * rng.uniform(-max_hue, max_hue) if max_hue and rng.random() < 0.5 else 0.0
    return Colours(gain, brightness, hue)


def draw_view(rng: np.random.Generator, source: tuple[int, int], height: int, width: int, strength: float) -> View:
    """A random view of height x width of an image of size `source` (height, width): shifted, scaled, rotated, perhaps mirrored.

    strength 0: the image is only resized.
    """
    scale = height / source[0] * np.exp(strength * rng.uniform(-0.1, 0.1))
    degrees = strength * rng.uniform(-8, 8)
    shift = strength * rng.uniform(-0.05, 0.05, 2) * height
    mirrored = strength > 0 and rng.random() < 0.5
    return View.rotated(source, height, width, scale=scale, degrees=degrees, shift=shift, mirrored=mirrored)


def _hue_rotation(degrees: float) -> np.ndarray:
    """The rotation of RGB colours around the grey axis, [3, 3]."""
    cosine, sine = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees)) / np.sqrt(3)
    cross_product = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]])
    return np.asarray(cosine * np.eye(3) + (1 - cosine) / 3 + sine * cross_product, np.float32)
