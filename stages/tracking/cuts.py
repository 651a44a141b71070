"""Detection of cuts between shots, without delay, for use during tracking.

PySceneDetect's adaptive detector, which `stages.clip.split` uses in addition, cannot replace this one. It answers two frames later and
takes 0.6 ms per frame instead of 0.1. Its false alarms, which occur where a video repeats frames, would make a tracker lose its subject.
Measurements: 35,461 frames of 101 videos contain a single cut. This detector reported only that cut, the adaptive one two false cuts as
well. Of 400 cuts from one video to another both found 399. Of 99 jumps within a video this detector found 12, the adaptive one 40.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_SAMPLES = 32
"""Smallest number of sampled pixels along each side of a frame. There are fewer than twice as many; a shorter side is sampled entirely."""
MIN_CHANGE = 28.0
"""Smallest mean absolute change of a coarse sample of the image at a cut, in grey levels. Fast motion of a head reaches 22."""
MIN_RATIO = 2.0
"""Smallest ratio of the change at a cut to the change one frame earlier."""


class CutDetector:
    """Called with the frames of a clip in order (uint8 [H, W, 3]); returns True for the first frame of each shot except the first shot."""

    def __init__(self) -> None:
        self._sample: NDArray[np.int16] | None = None
        self._change = 0.0

    def __call__(self, frame: NDArray[np.uint8]) -> bool:
        rows, columns = (max(1, side // _SAMPLES) for side in frame.shape[:2])
        sample = frame[rows // 2 :: rows, columns // 2 :: columns].astype(np.int16)
        previous, self._sample = self._sample, sample
        if previous is None:
            return False
        previous_change, self._change = self._change, float(np.abs(sample - previous).mean())
        return self._change > MIN_CHANGE and self._change > MIN_RATIO * previous_change
