"""Dense inverse search (Kroeger et al. 2016) of OpenCV: no network, a few milliseconds, always available."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stages.backends import Backend
from stages.flow.backends import Estimator, Opener

MIN_SIDE = 32
"""OpenCV chooses its pyramid by the width alone and reads past the end of an image that is not high enough. Shorter sides are padded."""


def dis_flow(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Two images, uint8 RGB [H, W, 3] -> the flow from `first` to `second`, float32 [H, W, 2] in pixels."""
    import cv2

    height, width = first.shape[:2]
    grey_first, grey_second = (_pad_to_min_side(np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)) for image in (first, second))
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    still = np.zeros((*grey_first.shape, 2), np.float32)  # start every patch at zero motion
    return np.asarray(search.calc(grey_first, grey_second, still), np.float32)[:height, :width]


def _pad_to_min_side(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    below, right = (max(0, MIN_SIDE - side) for side in grey.shape)
    return np.pad(grey, ((0, below), (0, right)), "edge") if below or right else grey


def _open(device: str) -> Opener:
    def load(model: Path | None) -> Estimator:
        return dis_flow

    return load


BACKEND = Backend(name="dis", produces="optical flow by dense inverse search", open=_open)
