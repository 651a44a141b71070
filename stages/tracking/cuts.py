"""Where one shot of a video ends and the next begins, told at once, beside a detector.

PySceneDetect's adaptive detector, which `stages.clip.split` asks too, is no replacement: it answers two frames later, takes 0.6 ms per
frame and not 0.1, and a false alarm, which it gives where a video repeats frames, would make a detector lose whom it follows. In 35,461
frames of 101 videos with one cut the one here found just that, the adaptive one two more. Of 400 cuts from one video to another both found
399; of 99 jumps to a later place of the same video the one here saw 12, the adaptive one 40.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_SAMPLES = 32
MIN_CHANGE = 28.0
"""Mean absolute change, in grey values, of a coarse sample of the picture at a cut. Fast motion of a head reaches 22."""
MIN_RATIO = 2.0
"""How much larger the change at a cut is than the change before it."""


class CutDetector:
    """Called with the frames of a clip in order (uint8 [H, W, 3]); True for each frame that begins another shot than the one before."""

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
