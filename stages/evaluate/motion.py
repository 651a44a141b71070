"""Optical flow between two frames (DIS, Kroeger et al. 2016), and images warped along it."""

from __future__ import annotations

import functools

import cv2
import numpy as np
from numpy.typing import NDArray

from stages.evaluate.frame_source import Image

MIN_SIDE = 16
"""Smallest side in pixels that DIS accepts."""

Flow = NDArray[np.float32]
Mask = NDArray[np.bool_]


class FlowEstimator:
    """Called with two images, uint8 RGB [H, W, 3], it returns the flow [H, W, 2] in pixels: image(x) = other(x + flow(x))."""

    def __init__(self) -> None:
        self._dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    def __call__(self, image: Image, other: Image) -> Flow:
        initial_flow = np.zeros((*image.shape[:2], 2), np.float32)
        return np.asarray(self._dis.calc(_grey(image), _grey(other), initial_flow), np.float32)


def consistent(backward: Flow, forward: Flow) -> Mask:
    """Forward-backward check (Sundaram et al. 2010, eq. 5): the pixels [H, W] that stay in the frame and return nearly to their start."""
    way_back = warp(forward, backward)
    distance = _squared_length(backward + way_back)
    allowed = 0.01 * (_squared_length(backward) + _squared_length(way_back)) + 0.5
    height, width = distance.shape
    x, y = np.moveaxis(_targets(backward), -1, 0)
    inside = (x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1)
    return np.asarray((distance <= allowed) & inside)


def warp(image: Image | Flow, flow: Flow) -> NDArray[np.float32]:
    """out(x) = image(x + flow(x)), float32; image [H, W, C], flow [H, W, 2] in pixels."""
    targets = _targets(flow)
    return np.asarray(
        cv2.remap(image.astype(np.float32), targets[..., 0], targets[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    )


def _grey(image: Image) -> Image:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)


def _squared_length(flow: Flow) -> NDArray[np.float32]:
    return flow[..., 0] * flow[..., 0] + flow[..., 1] * flow[..., 1]


def _targets(flow: Flow) -> Flow:
    """The position x + flow(x) to which the flow takes each pixel x."""
    height, width = flow.shape[:2]
    return flow + _positions(width, height)


@functools.lru_cache(maxsize=1)
def _positions(width: int, height: int) -> Flow:
    """The x and y of each pixel, [H, W, 2]."""
    return np.stack(np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)), -1)
