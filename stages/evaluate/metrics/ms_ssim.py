"""Structural similarity at five scales (Wang et al. 2003): Gaussian window of 11 pixels, mean over red, green and blue.

Each scale halves the one before. The window has to fit into the coarsest, so five scales need 176 pixels a side. Smaller frames have as
many scales as the window fits into, with weights scaled to sum to one: compare such figures only with those of as many scales.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from stages.evaluate.metric import Image, Metric, Scorer, Setting

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Of the scales, the finest first (section 3.2)."""
WINDOW, SIGMA = 11, 1.5
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2

Pixels = NDArray[np.float64]


def scales(width: int, height: int) -> int:
    """How many scales, each half the one before, have room for the window; at most five."""
    return max(1, sum(min(width, height) >> scale >= WINDOW for scale in range(len(WEIGHTS))))


def similarity(ours: Image, theirs: Image, count: int) -> float:
    """Two images [H, W, 3] -> at most 1, for equal ones. A scale on which structures are opposed counts as 0."""
    weights = WEIGHTS if count == len(WEIGHTS) else [weight / sum(WEIGHTS[:count]) for weight in WEIGHTS[:count]]
    x, y = ours.astype(np.float64), theirs.astype(np.float64)
    product: Pixels = np.ones(x.shape[-1])
    for scale, weight in enumerate(weights):
        luminance, structure = compare(x, y)
        last = scale == count - 1
        product *= (luminance * structure if last else structure).mean((0, 1)).clip(0) ** weight  # eq. 7
        x, y = (x, y) if last else (_half(x), _half(y))
    return float(product.mean())


def compare(x: Pixels, y: Pixels) -> tuple[Pixels, Pixels]:
    """Two images [H, W, 3] -> l and c s (Wang et al. 2004, eq. 6, 9, 10), each [H - 10, W - 10, 3]: where the window lies inside."""
    mx, my = _blur(x), _blur(y)
    vx, vy, vxy = _blur(x * x) - mx * mx, _blur(y * y) - my * my, _blur(x * y) - mx * my
    return (2 * mx * my + C1) / (mx * mx + my * my + C1), (2 * vxy + C2) / (vx + vy + C2)


def _blur(image: Pixels) -> Pixels:
    kernel, border = cv2.getGaussianKernel(WINDOW, SIGMA), WINDOW // 2
    return np.asarray(cv2.sepFilter2D(image, cv2.CV_64F, kernel, kernel), np.float64)[border:-border, border:-border]


def _half(image: Pixels) -> Pixels:
    """Means of 2 x 2 pixels; an odd last row or column is left out."""
    height, width = image.shape[0] // 2, image.shape[1] // 2
    return np.asarray(cv2.resize(image[: 2 * height, : 2 * width], (width, height), interpolation=cv2.INTER_AREA), np.float64)


def _open(setting: Setting) -> Scorer:
    count = scales(setting.width, setting.height)

    def score(reference: Image, candidates: Sequence[Image]) -> list[float]:
        return [similarity(reference, candidate, count) for candidate in candidates]

    return score


METRIC = Metric(
    name="ms-ssim",
    summary="structural similarity at several scales, 1 for equal frames",
    unit="",
    better="higher",
    open=_open,
    least_side=WINDOW,
)
