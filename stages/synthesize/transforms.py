"""What is done to frames between the network and the file: a chain of transforms, each from frames to frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stages.synthesize.driving import Driving

Frames = Iterator[NDArray[np.uint8]]
"""RGB [H, W, 3], one for each driving frame."""


class FrameTransform(Protocol):
    """One step of the chain. It may change the size, and makes one frame of each."""

    def __call__(self, frames: Frames) -> Frames: ...


def transformed(frames: Frames, chain: Sequence[FrameTransform]) -> Frames:
    """The frames after all transforms, in their order."""
    for transform in chain:
        frames = transform(frames)
    return frames


class SideBySide:
    """Driving frame (when the clip has frames), drawn driving layer and result: three or two times as wide."""

    def __init__(self, driving: Driving) -> None:
        self.driving = driving

    def __call__(self, frames: Frames) -> Frames:
        images: Iterator[np.ndarray | None] = self.driving.frames() if self.driving.clip.has("frames") else repeat(None)
        for frame, drawing, image in zip(frames, self.driving.drawings(), images, strict=False):
            columns = [drawing, frame]
            yield np.concatenate(columns if image is None else [image, *columns], 1)
