"""Cropping and scaling of a part of an image."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray


def cut_window(image: NDArray[np.uint8], corner: tuple[float, float], scale: float, size: tuple[int, int]) -> NDArray[np.uint8]:
    """A window of `image` [H, W(, C)]: its pixel (i, j) shows the position corner + scale (i, j). size: its width and height in pixels.

    Outside the image it is black. If scale >= 2, the image is first reduced by an integer factor, since OpenCV's warps do not filter.
    """
    factor = max(1, int(scale))
    x0, y0 = (max(0, math.floor(start - factor)) for start in corner)
    x1, y1 = (math.ceil(start + scale * length) + factor for start, length in zip(corner, size, strict=True))
    region = image[y0 : max(y1, 0), x0 : max(x1, 0)]
    height, width = (side // factor for side in region.shape[:2])
    if not height or not width:
        return np.zeros((size[1], size[0], *image.shape[2:]), np.uint8)
    small = region
    if factor > 1:
        small = np.asarray(cv2.resize(region[: height * factor, : width * factor], (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    offset = (factor - 1) / 2  # the centre of a reduced pixel is the centre of the pixels that it averages
    matrix = np.array([[scale / factor, 0, (corner[0] - x0 - offset) / factor], [0, scale / factor, (corner[1] - y0 - offset) / factor]])
    return np.asarray(cv2.warpAffine(small, matrix, size, flags=cv2.WARP_INVERSE_MAP | cv2.INTER_LINEAR), np.uint8)
