"""Detection of cuts between shots, without delay, for use beside a detector.

PySceneDetect's adaptive detector, which `stages.clip.split` uses as well, is no replacement: it answers two frames later and takes 0.6
instead of 0.1 ms per frame, and its false alarms, which occur where a video repeats frames, would make a detector lose its subject. In
35,461 frames of 101 videos with one cut this detector found exactly that cut, the adaptive one two more. Of 400 cuts from one video to
another both found 399; of 99 jumps within the same video this detector found 12, the adaptive one 40.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_SAMPLES = 32
MIN_CHANGE = 28.0
"""Smallest mean absolute change of a coarse sample of the image at a cut, in grey values. Fast motion of a head reaches 22."""
MIN_RATIO = 2.0
"""Smallest ratio of the change at a cut to the previous change."""


class CutDetector:
    """Called with the frames of a clip in order (uint8 [H, W, 3]); returns True for the first frame of each shot but the first."""

    def __init__(self) -> None:
        self._sample: NDArray[np.int16] | None = None
        self._change = 0.0

    def __call__(self, frame: NDArray[np.uint8]) -> bool:
        rows, columns = (max(1, side // _SAMPLES) for side in frame.shape[:2])
        sample = frame[rows // 2 :: rows, columns // 2 :: columns].astype(np.int16)
        before, self._sample = self._sample, sample
        if before is None:
            return False
        earlier, self._change = self._change, float(np.abs(sample - before).mean())
        return self._change > MIN_CHANGE and self._change > MIN_RATIO * earlier
