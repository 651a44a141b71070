"""What SSIM and MS-SSIM look at: means, variances and covariances under a Gaussian window, at scales that each halve the one before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from stages.evaluate.footage import Image

WINDOW, SIGMA = 11, 1.5
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2

Pixels = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Structure:
    """An image at one scale: pixels [H, W, 3]; where the window lies inside, mean and variance [H - 10, W - 10, 3]."""

    pixels: Pixels

    @staticmethod
    def of(image: Image) -> Structure:
        return Structure(image.astype(np.float64))

    @staticmethod
    def of_all(images: Sequence[Image]) -> list[Structure]:
        return [Structure.of(image) for image in images]

    @cached_property
    def mean(self) -> Pixels:
        return _windowed(self.pixels)

    @cached_property
    def variance(self) -> Pixels:
        return _windowed(self.pixels * self.pixels) - self.mean * self.mean

    @cached_property
    def half(self) -> Structure:
        """Means of 2 x 2 pixels; an odd last row or column is left out."""
        height, width = self.pixels.shape[0] // 2, self.pixels.shape[1] // 2
        even = self.pixels[: 2 * height, : 2 * width]
        return Structure(np.asarray(cv2.resize(even, (width, height), interpolation=cv2.INTER_AREA), np.float64))

    def luminance(self, other: Structure) -> Pixels:
        """l of Wang et al. 2004, eq. 6."""
        return (2 * self.mean * other.mean + C1) / (self.mean * self.mean + other.mean * other.mean + C1)

    def contrast_and_structure(self, other: Structure) -> Pixels:
        """c s of Wang et al. 2004, eq. 9 and 10 with C3 = C2 / 2."""
        covariance = _windowed(self.pixels * other.pixels) - self.mean * other.mean
        return (2 * covariance + C2) / (self.variance + other.variance + C2)


def _windowed(pixels: Pixels) -> Pixels:
    kernel, border = cv2.getGaussianKernel(WINDOW, SIGMA), WINDOW // 2
    return np.asarray(cv2.sepFilter2D(pixels, cv2.CV_64F, kernel, kernel), np.float64)[border:-border, border:-border]
