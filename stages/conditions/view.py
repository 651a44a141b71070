"""Views: affine maps from a source image to the image that a network sees, applied to pixels and to points."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

SHAPE_TOLERANCE = 0.05
"""Scales of width and height count as equal if the absolute logarithm of their ratio is at most this."""


@dataclass(frozen=True)
class View:
    """An affine map onto a height x width image: `matrix` [2, 3] maps source (x, y) to output (x, y), with pixel centres at integers."""

    matrix: np.ndarray
    height: int
    width: int

    @classmethod
    def scaled(cls, height: int, width: int, to_height: int, to_width: int) -> View:
        """The whole height x width image, resized to to_height x to_width."""
        sx, sy = to_width / width, to_height / height
        return cls(np.array([[sx, 0, (sx - 1) / 2], [0, sy, (sy - 1) / 2]]), to_height, to_width)

    @classmethod
    def crop(cls, box: np.ndarray, to_height: int, to_width: int) -> View:
        """A crop (left, top, height) with the aspect ratio of to_height x to_width, resized to this size.

        left and top are measured in pixels from the left and upper border of the image, so the centre of the first pixel is at 0.5.
        """
        left, top, box_height = (float(value) for value in box)
        scale = to_height / box_height
        return cls(np.array([[scale, 0, (0.5 - left) * scale - 0.5], [0, scale, (0.5 - top) * scale - 0.5]]), to_height, to_width)

    @classmethod
    def rotated(
        cls, source: tuple[int, int], height: int, width: int, *, scale: float, degrees: float, shift: np.ndarray, mirrored: bool
    ) -> View:
        """An image of size `source` (height, width), mirrored if asked, then rotated and scaled around its middle.

        The middle of the source is mapped to the middle of the height x width result plus `shift` (x, y in pixels of the result).
        """
        angle = np.deg2rad(degrees)
        sign = -1.0 if mirrored else 1.0
        linear = scale * np.array([[np.cos(angle) * sign, -np.sin(angle)], [np.sin(angle) * sign, np.cos(angle)]])
        middle_in, middle_out = (np.array(source[::-1]) - 1) / 2, (np.array([width, height]) - 1) / 2
        return cls(np.column_stack([linear, middle_out + shift - linear @ middle_in]), height, width)

    @property
    def squeezes(self) -> bool:
        """Whether the scales of width and height differ by more than 5 %."""
        scale_x, scale_y = np.linalg.norm(self.matrix[:, :2], axis=0)
        return bool(abs(np.log(scale_x / scale_y)) > SHAPE_TOLERANCE)

    def inverse(self, height: int, width: int) -> View:
        """The view from the output back to the source, whose size is height x width."""
        return View(np.linalg.inv(_square(self.matrix))[:2], height, width)

    def then(self, after: View) -> View:
        """This view followed by the view `after`."""
        return View((_square(after.matrix) @ _square(self.matrix))[:2], after.height, after.width)

    @property
    def mirrored(self) -> bool:
        """Whether the map exchanges left and right."""
        return bool(np.linalg.det(self.matrix[:, :2]) < 0)

    def points(self, points: np.ndarray) -> np.ndarray:
        """Points [..., 3] (x, y, confidence), transformed; points with confidence 0 become zeros."""
        result = points.astype(np.float32, copy=True)
        result[..., :2] = points[..., :2] @ self.matrix[:, :2].T + self.matrix[:, 2]
        result[points[..., 2] <= 0] = 0
        return result

    def image(self, image: np.ndarray, interpolation: int = cv2.INTER_LINEAR) -> np.ndarray:
        """An image uint8 [H, W(, C)], transformed; beyond its border it is continued by reflection."""
        scale = np.sqrt(abs(np.linalg.det(self.matrix[:, :2])))
        matrix = self.matrix
        if scale < 0.75 and interpolation == cv2.INTER_LINEAR:  # bilinear interpolation alone would alias
            height, width = image.shape[:2]
            resized = View.scaled(height, width, max(1, round(height * scale)), max(1, round(width * scale)))
            image = cv2.resize(image, (resized.width, resized.height), interpolation=cv2.INTER_AREA)
            matrix = (_square(matrix) @ np.linalg.inv(_square(resized.matrix)))[:2]
        return cv2.warpAffine(image, matrix, (self.width, self.height), flags=interpolation, borderMode=cv2.BORDER_REFLECT_101)


def _square(matrix: np.ndarray) -> np.ndarray:
    """A matrix [2, 3] as [3, 3], with the last row 0, 0, 1."""
    return np.vstack([matrix, [0, 0, 1]])
