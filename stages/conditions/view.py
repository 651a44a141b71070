"""Views: the affine map from a source image to the image that a network sees; for pixels and for points alike."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

SHAPE_TOLERANCE = 0.05


@dataclass(frozen=True)
class View:
    """Where the pixels of an output image come from: `matrix` [2, 3] maps source (x, y) to output (x, y)."""

    matrix: np.ndarray
    height: int
    width: int

    @classmethod
    def scaled(cls, height: int, width: int, to_height: int, to_width: int) -> View:
        """The whole height x width image at another size; pixel centres are at integers."""
        sx, sy = to_width / width, to_height / height
        return cls(np.array([[sx, 0, (sx - 1) / 2], [0, sy, (sy - 1) / 2]]), to_height, to_width)

    @classmethod
    def crop(cls, box: np.ndarray, to_height: int, to_width: int) -> View:
        """A crop (left, top, height) of the shape of the result, at to_height x to_width; left and top are borders: the image's are 0."""
        left, top, side = (float(value) for value in box)
        scale = to_height / side
        return cls(np.array([[scale, 0, (0.5 - left) * scale - 0.5], [0, scale, (0.5 - top) * scale - 0.5]]), to_height, to_width)

    @classmethod
    def turned(
        cls, source: tuple[int, int], height: int, width: int, *, scale: float, degrees: float, shift: np.ndarray, mirrored: bool
    ) -> View:
        """An image of size `source` (height, width), perhaps mirrored, scaled and turned around its middle, which then moves by `shift`.

        shift: x, y in pixels of the height x width result, from its middle.
        """
        angle = np.deg2rad(degrees)
        across = -1.0 if mirrored else 1.0
        turn = scale * np.array([[np.cos(angle) * across, -np.sin(angle)], [np.sin(angle) * across, np.cos(angle)]])
        middle_in, middle_out = (np.array(source[::-1]) - 1) / 2, (np.array([width, height]) - 1) / 2
        return cls(np.column_stack([turn, middle_out + shift - turn @ middle_in]), height, width)

    @property
    def squeezes(self) -> bool:
        """Whether shapes change noticeably: width and height are scaled by factors that differ by more than a twentieth."""
        across, down = np.linalg.norm(self.matrix[:, :2], axis=0)
        return bool(abs(np.log(across / down)) > SHAPE_TOLERANCE)

    def inverse(self, height: int, width: int) -> View:
        """From the output back to the source, whose size is height x width."""
        return View(np.linalg.inv(_square(self.matrix))[:2], height, width)

    def then(self, after: View) -> View:
        """This view, and `after` of what it shows."""
        return View((_square(after.matrix) @ _square(self.matrix))[:2], after.height, after.width)

    @property
    def mirrored(self) -> bool:
        return bool(np.linalg.det(self.matrix[:, :2]) < 0)

    def points(self, points: np.ndarray) -> np.ndarray:
        """[..., 3] (x, y, confidence) seen through the view; what has no confidence stays zero."""
        moved = points.astype(np.float32, copy=True)
        moved[..., :2] = points[..., :2] @ self.matrix[:, :2].T + self.matrix[:, 2]
        moved[points[..., 2] <= 0] = 0
        return moved

    def image(self, image: np.ndarray, interpolation: int = cv2.INTER_LINEAR) -> np.ndarray:
        """uint8 [H, W(, C)] seen through the view; outside the image it is mirrored."""
        shrink = np.sqrt(abs(np.linalg.det(self.matrix[:, :2])))
        matrix = self.matrix
        if shrink < 0.75 and interpolation == cv2.INTER_LINEAR:  # a plain bilinear reading would alias
            height, width = image.shape[:2]
            steps = View.scaled(height, width, max(1, round(height * shrink)), max(1, round(width * shrink)))
            image = cv2.resize(image, (steps.width, steps.height), interpolation=cv2.INTER_AREA)
            matrix = (_square(matrix) @ np.linalg.inv(_square(steps.matrix)))[:2]
        return cv2.warpAffine(image, matrix, (self.width, self.height), flags=interpolation, borderMode=cv2.BORDER_REFLECT_101)


def _square(matrix: np.ndarray) -> np.ndarray:
    return np.vstack([matrix, [0, 0, 1]])
