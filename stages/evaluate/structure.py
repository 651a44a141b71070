"""The statistics of SSIM and MS-SSIM: means, variances and covariances under a Gaussian window. Each scale halves the previous
one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from weakref import WeakKeyDictionary

import cv2
import numpy as np
from numpy.typing import NDArray

from stages.evaluate.frame_source import Image

WINDOW, SIGMA = 11, 1.5
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2

Pixels = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ImageStatistics:
    """An image at one scale: pixels [H, W, 3], and the mean, the squared mean and the variance of the window around each pixel."""

    pixels: Pixels
    _compared: WeakKeyDictionary[ImageStatistics, Pixels] = field(default_factory=WeakKeyDictionary, init=False, repr=False)
    """Other image -> what `contrast_and_structure` returned for it."""

    @staticmethod
    def of(image: Image) -> ImageStatistics:
        return ImageStatistics(image.astype(np.float64))

    @staticmethod
    def of_all(images: Sequence[Image]) -> list[ImageStatistics]:
        return [ImageStatistics.of(image) for image in images]

    @cached_property
    def mean(self) -> Pixels:
        return _window_mean(self.pixels)

    @cached_property
    def mean_squared(self) -> Pixels:
        return self.mean * self.mean

    @cached_property
    def variance(self) -> Pixels:
        return _window_mean(self.pixels * self.pixels) - self.mean_squared

    @cached_property
    def half(self) -> ImageStatistics:
        """Means of 2 x 2 pixels; an odd last row or column is left out."""
        height, width = self.pixels.shape[0] // 2, self.pixels.shape[1] // 2
        even = self.pixels[: 2 * height, : 2 * width]
        return ImageStatistics(np.asarray(cv2.resize(even, (width, height), interpolation=cv2.INTER_AREA), np.float64))

    def luminance(self, other: ImageStatistics) -> Pixels:
        """l of Wang et al. 2004, eq. 6."""
        return (2 * self.mean * other.mean + C1) / (self.mean_squared + other.mean_squared + C1)

    def contrast_and_structure(self, other: ImageStatistics) -> Pixels:
        """c s of Wang et al. 2004, eq. 9 and 10 with C3 = C2 / 2; cached, since SSIM and MS-SSIM both need it."""
        if other not in self._compared:
            covariance = _window_mean(self.pixels * other.pixels) - self.mean * other.mean
            self._compared[other] = (2 * covariance + C2) / (self.variance + other.variance + C2)
        return self._compared[other]


def mean_inside(values: Pixels) -> Pixels:
    """The mean [3] of values [H, W, 3] over the windows that lie within the image, as in skimage and in the authors' code."""
    border = WINDOW // 2
    return np.array(cv2.mean(values[border:-border, border:-border])[:3])


def _window_mean(pixels: Pixels) -> Pixels:
    """The mean under the window around each pixel."""
    kernel = cv2.getGaussianKernel(WINDOW, SIGMA)
    return np.asarray(cv2.sepFilter2D(pixels, cv2.CV_64F, kernel, kernel), np.float64)
