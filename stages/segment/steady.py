"""Temporal smoothing of labels without smearing: the previous probabilities are warped along the optical flow.

Where the flow leads back to where it came from, the probabilities of the two frames are averaged; where it does not (what was hidden comes
into view, or something moves in another way), only the new frame counts. Nothing lags: the average lies at where things are now.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from stages.tracking.cuts import CutDetector

CARRIED = 0.6
"""Weight of the past at strength 1."""
MIN_SIDE = 32
"""Smallest side for DIS, which crashes on smaller images."""
AGREES_WITHIN = 1.0
"""Tolerance of the forward-backward check, in pixels of the small image."""


class Steady:
    """Called with the frames of a clip in order, uint8 [H, W, 3], and their probabilities [L, h, w]; returns steadier ones.

    strength 0: unchanged; 1: the past weighs 0.6; larger ones come near 1.
    """

    def __init__(self, strength: float) -> None:
        self._share = 1 - (1 - CARRIED) ** strength
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        self._is_cut = CutDetector()
        self._past: tuple[NDArray[np.uint8], NDArray[np.float32]] | None = None

    def __call__(self, frame: NDArray[np.uint8], probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
        height, width = probabilities.shape[1:]
        if self._share == 0 or min(height, width) < MIN_SIDE:
            return probabilities
        grey = cv2.cvtColor(cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
        result = probabilities
        if not self._is_cut(frame) and self._past is not None:
            before, carried = self._past
            moved, trust = self._carried(np.asarray(grey, np.uint8), before, carried)
            result = probabilities + self._share * trust * (moved - probabilities)
        self._past = np.asarray(grey, np.uint8), result
        return result

    def _carried(
        self, grey: NDArray[np.uint8], before: NDArray[np.uint8], past: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The past warped to the present, [L, h, w], and where it is valid, [h, w] in {0, 1}."""
        still = np.zeros((*grey.shape, 2), np.float32)
        back, forth = self._flow.calc(grey, before, still.copy()), self._flow.calc(before, grey, still)
        y, x = np.mgrid[: grey.shape[0], : grey.shape[1]].astype(np.float32)
        at_x, at_y = x + back[..., 0], y + back[..., 1]
        returned = back + cv2.remap(forth, at_x, at_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=(1e3, 1e3))
        trust = (np.square(returned).sum(-1) < AGREES_WITHIN**2).astype(np.float32)
        moved = np.stack([cv2.remap(label, at_x, at_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE) for label in past])
        return np.asarray(moved, np.float32), trust
