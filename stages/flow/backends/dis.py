"""Dense inverse search (Kroeger et al. 2016) of OpenCV: no network, a few milliseconds, always available."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stages.backends import Backend
from stages.flow.backends import Estimator, Opener

MIN_SIDE = 32
"""OpenCV chooses its pyramid by the width alone and reads past the end of an image that is not high enough; smaller ones are padded."""


def dis_flow(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.float32]:
    """uint8 RGB [H, W, 3] twice -> flow from `one` to `other`, float32 [H, W, 2] in pixels."""
    import cv2

    height, width = one.shape[:2]
    first, second = (_large_enough(np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)) for image in (one, other))
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    still = np.zeros((*first.shape, 2), np.float32)  # start every patch at zero motion
    return np.asarray(search.calc(first, second, still), np.float32)[:height, :width]


def _large_enough(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    below, right = (max(0, MIN_SIDE - side) for side in grey.shape)
    return np.pad(grey, ((0, below), (0, right)), "edge") if below or right else grey


def _open(device: str) -> Opener:
    def load(model: Path | None) -> Estimator:
        return dis_flow

    return load


BACKEND = Backend(name="dis", produces="optical flow by dense inverse search", open=_open)
