"""A clip that reports the progress of a stage that reads it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np

from stages.clip import Clip

_INTERVAL = 0.2
"""Seconds between two reports."""


class WatchedClip(Clip):
    """`on_frames(read, num_frames)` is called a few times per second while frames are read.

    read: the number of frames of the clip up to the one just read.
    """

    def __init__(self, clip: Clip, on_frames: Callable[[int, int], None]) -> None:
        super().__init__(clip.store)
        self._on_frames = on_frames

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        reported = time.monotonic()
        for index, frame in enumerate(super().frames(start, stop), start + 1):
            yield frame
            if time.monotonic() - reported >= _INTERVAL:
                reported = time.monotonic()
                self._on_frames(index, self.num_frames)
