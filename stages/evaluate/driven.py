"""The driving: the clip, video or folder that the results follow. Its points and label maps are scaled to the size of the results."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from stages.clip import Layer
from stages.errors import InputError, UsageError
from stages.evaluate.frame_source import FrameSource
from stages.evaluate.metric import EvaluationContext

ASPECT_TOLERANCE = 0.02
"""Largest relative difference between the aspect ratios of the driving and of a result."""


def has_layer(driving: FrameSource | None, kind: str) -> bool:
    """Whether the driving is a clip with this layer."""
    return driving is not None and driving.clip is not None and driving.clip.has(kind)


def layer_of_driving(context: EvaluationContext, kind: str) -> tuple[FrameSource, Layer]:
    """The driving and its layer `kind`. Raises UsageError when it has none."""
    driving = context.driving
    if driving is None or driving.clip is None or not driving.clip.has(kind):
        raise UsageError(f"The driving has no layer {kind}", code="driving-without-layer", facts={"layer": kind})
    return driving, driving.clip.layer(kind)


def points_at_size(driving: FrameSource, points: Iterable[NDArray[np.float32]], width: int, height: int) -> Iterator[NDArray[np.float32]]:
    """Each frame's points [N, 3] (x, y, confidence), from pixels of the driving to pixels of a width x height frame.

    Raises InputError when the aspect ratios differ.
    """
    scale = _scale(driving, width, height)
    for original in points:
        scaled = original.copy()
        scaled[:, :2] = (original[:, :2] + 0.5) * scale - 0.5
        yield scaled


def labels_at_size(driving: FrameSource, maps: Iterable[NDArray[np.uint8]], width: int, height: int) -> Iterator[NDArray[np.uint8]]:
    """Each label map of the driving, resized to [height, width]. Raises InputError when the aspect ratios differ."""
    _scale(driving, width, height)  # checks the aspect ratio
    for ids in maps:
        yield np.asarray(cv2.resize(ids, (width, height), interpolation=cv2.INTER_NEAREST_EXACT), np.uint8)


def _scale(driving: FrameSource, width: int, height: int) -> NDArray[np.float32]:
    """The factors [2] of x and y."""
    scale = np.array([width / driving.width, height / driving.height], np.float32)
    if abs(scale[0] / scale[1] - 1) > ASPECT_TOLERANCE:
        raise InputError(
            f"The driving {driving.path} ({driving.width}x{driving.height}) cannot be compared with a result of {width}x{height}",
            code="driving-shape",
        )
    return scale
