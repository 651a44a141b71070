"""Windows cut out of an image at another size."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray


def cut_window(image: NDArray[np.uint8], corner: tuple[float, float], scale: float, size: tuple[int, int]) -> NDArray[np.uint8]:
    """The window of `image` [H, W(, C)] whose pixel (i, j) shows the position corner + scale (i, j); size is its width and height.

    Outside the image it is black. A large window is first reduced by an integer factor, since OpenCV's warps sample single pixels and would
    alias.
    """
    steps = max(1, int(scale))
    x0, y0 = (max(0, math.floor(start - steps)) for start in corner)
    x1, y1 = (math.ceil(start + scale * length) + steps for start, length in zip(corner, size, strict=True))
    region = image[y0 : max(y1, 0), x0 : max(x1, 0)]
    height, width = (side // steps for side in region.shape[:2])
    if not height or not width:
        return np.zeros((size[1], size[0], *image.shape[2:]), np.uint8)
    small = region
    if steps > 1:
        small = np.asarray(cv2.resize(region[: height * steps, : width * steps], (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    offset = (steps - 1) / 2  # the centre of a reduced pixel is that of the pixels it averages
    matrix = np.array([[scale / steps, 0, (corner[0] - x0 - offset) / steps], [0, scale / steps, (corner[1] - y0 - offset) / steps]])
    return np.asarray(cv2.warpAffine(small, matrix, size, flags=cv2.WARP_INVERSE_MAP | cv2.INTER_LINEAR), np.uint8)
