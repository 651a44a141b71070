"""Transforms of the frames between the network and the file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from stages.synthesize.driving import Driving

Frames = Iterator[NDArray[np.uint8]]
"""An image, RGB [H, W, 3], for each driving frame."""


class FrameTransform(Protocol):
    """A function from frames to as many frames, perhaps of another size."""

    def __call__(self, frames: Frames) -> Frames: ...


def apply_transforms(frames: Frames, transforms: Sequence[FrameTransform]) -> Frames:
    """Apply all transforms in their order."""
    for transform in transforms:
        frames = transform(frames)
    return frames


class SideBySide:
    """Puts the driving frame (if the clip has frames), the drawing of the driving layer and the result side by side."""

    def __init__(self, driving: Driving) -> None:
        self.driving = driving

    def __call__(self, frames: Frames) -> Frames:
        images: Iterator[np.ndarray | None] = self.driving.frames() if self.driving.clip.has("frames") else repeat(None)
        for frame, drawing, image in zip(frames, self.driving.drawings(), images, strict=False):
            columns = [drawing] if image is None else [image, drawing]
            yield np.concatenate([*(_resize_like(frame, column) for column in columns), frame], 1)


def _resize_like(frame: np.ndarray, image: np.ndarray) -> np.ndarray:
    """The image at the size of the frame."""
    if image.shape == frame.shape:
        return image
    return np.asarray(cv2.resize(image, frame.shape[1::-1], interpolation=cv2.INTER_CUBIC))
