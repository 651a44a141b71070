"""Drawing layers over frames for previews. The input of networks is drawn by stages.conditions."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import cv2
import numpy as np

from stages.clip.clip import Clip

BODY_25_LIMBS = (  # pairs of keypoints
    (1, 8), (1, 2), (2, 3), (3, 4), (1, 5), (5, 6), (6, 7), (8, 9), (9, 10), (10, 11), (8, 12), (12, 13), (13, 14),
    (1, 0), (0, 15), (15, 17), (0, 16), (16, 18), (14, 19), (19, 20), (14, 21), (11, 22), (22, 23), (11, 24),
)  # fmt: skip
FACE_CURVES: tuple[tuple[int, int, bool], ...] = (
    (0, 17, False), (17, 22, False), (22, 27, False), (27, 31, False), (31, 36, False),
    (36, 42, True), (42, 48, True), (48, 60, True), (60, 68, True),
)  # fmt: skip
"""Curves through the 68 landmarks of iBUG: index of the first point, index after the last, whether the curve is closed."""


class Overlay:
    """Draws one layer of a clip over its frames. Arrays are read when it is created, images one at a time."""

    def __init__(self, clip: Clip, kind: str) -> None:
        self.kind = kind
        self._layer = clip.layer(kind)
        self._arrays = self._layer.arrays() if self._layer.payload == "arrays" else {}
        self._palette = _full_palette(self._layer.meta.get("palette"))

    def draw(self, frame: np.ndarray, index: int) -> np.ndarray:
        """A copy of `frame` (uint8 RGB [H, W, 3]), darkened for some kinds, with entry `index` of the layer drawn over it.

        Optical flow covers the whole frame.
        """
        if self._arrays:
            return self._draw_points(_darken(frame, 0.6), index)
        image = self._layer.image(index)
        if self.kind == "sketch":
            return np.asarray(np.maximum(_darken(frame, 0.35), image[:, :, None]))
        if self.kind in ("mask", "flow_confidence"):
            return np.where(image[:, :, None] > 0, frame, _darken(frame, 0.25))
        if self._layer.payload == "flow":
            return flow_colours(image)
        colours = self._palette[image] if image.ndim == 2 else _densepose_colours(image, self._palette)
        blended = cv2.addWeighted(frame, 0.45, colours, 0.55, 0)
        ids = image if image.ndim == 2 else image[:, :, 0]
        return blended if self.kind == "segment" else np.where(ids[:, :, None] > 0, blended, frame)

    def _draw_points(self, canvas: np.ndarray, index: int) -> np.ndarray:
        width = max(1, round(max(canvas.shape[:2]) / 250))
        for person in self._arrays["keypoints"][index] if "keypoints" in self._arrays else ():
            for number, (a, b) in enumerate(BODY_25_LIMBS):
                if max(a, b) < len(person):
                    _draw_lines(canvas, person[[a, b]], _colour_of_hue(number / len(BODY_25_LIMBS)), width)
        for person in self._arrays["points"][index] if "points" in self._arrays else ():
            for number, (first, last, closed) in enumerate(FACE_CURVES):
                curve = person[first:last]
                _draw_lines(
                    canvas, np.concatenate([curve, curve[:1]]) if closed else curve, _colour_of_hue(number / len(FACE_CURVES)), width
                )
        return canvas


def flow_colours(flow: np.ndarray) -> np.ndarray:
    """Optical flow [H, W, 2] in pixels as uint8 RGB: the hue shows the direction, the saturation the speed.

    The saturation is full at the 99th percentile of the speed and above.
    """
    dx, dy = flow[..., 0].astype(np.float32), flow[..., 1].astype(np.float32)
    speed, angle = cv2.cartToPolar(dx, dy)
    strength = np.clip(speed / max(float(np.percentile(speed, 99)), 1e-3), 0, 1)
    hsv = np.stack([angle * (90 / np.pi), strength * 255, np.full_like(speed, 255)], -1).astype(np.uint8)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)


def _draw_lines(canvas: np.ndarray, points: np.ndarray, colour: tuple[int, int, int], width: int) -> None:
    """Draw lines between successive points [N, 3] whose confidences are both above 0.

    Coordinates are clipped to a few times the size of the image, because OpenCV cannot draw at very large ones.
    """
    limit = 4 * max(canvas.shape[:2])
    for (xa, ya, ca), (xb, yb, cb) in zip(points, points[1:], strict=False):
        if ca > 0 and cb > 0:
            start, end = (tuple(int(round(float(np.clip(v, -limit, limit)))) for v in pair) for pair in ((xa, ya), (xb, yb)))
            cv2.line(canvas, start, end, colour, width, cv2.LINE_AA)


def _colour_of_hue(fraction: float) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb(fraction, 0.9, 1.0)
    return int(red * 255), int(green * 255), int(blue * 255)


def _full_palette(colours: Sequence[Sequence[int]] | None) -> np.ndarray:
    """256 colours, [256, 3]: those of the layer, followed by generated ones."""
    palette = np.array([_colour_of_hue(index * 0.618034 % 1.0) for index in range(256)], np.uint8)
    if isinstance(colours, list) and 0 < len(colours) <= 256 and all(len(colour) == 3 for colour in colours):
        palette[: len(colours)] = np.clip(np.array(colours), 0, 255)
    return palette


def _densepose_colours(image: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """DensePose (part, U, V) as uint8 RGB [H, W, 3]: the hue shows the body part, the brightness the coordinate U."""
    shade = 0.5 + image[:, :, 1:2] / 510.0
    return np.asarray(palette[image[:, :, 0]] * shade).astype(np.uint8)


def _darken(frame: np.ndarray, factor: float) -> np.ndarray:
    return (frame * factor).astype(np.uint8)
