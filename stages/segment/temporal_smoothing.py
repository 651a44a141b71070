"""Temporal smoothing of labels along the optical flow, which does not blur moving objects.

The probabilities of the previous frame are warped to the new frame and averaged with its own. Where the forward and the backward flow do
not agree, because something comes into view or the flow is wrong, only the new frame counts.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from stages.tracking.cuts import CutDetector

PAST_WEIGHT = 0.6
"""Weight of the previous frame at strength 1."""
MIN_SIDE = 32
"""Smallest side in pixels for DIS, which crashes on smaller images."""
FLOW_TOLERANCE = 1.0
"""Tolerance of the forward-backward check, in pixels of the probabilities."""


class TemporalSmoother:
    """Called with each frame of a clip in order, uint8 [H, W, 3], and its probabilities [L, h, w]; returns smoothed probabilities.

    strength: 0 changes nothing, 1 gives the previous frame a weight of 0.6, and larger strengths a weight up to 1.
    """

    def __init__(self, strength: float) -> None:
        self._past_weight = 1 - (1 - PAST_WEIGHT) ** strength
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        self._is_cut = CutDetector()
        self._past: tuple[NDArray[np.uint8], NDArray[np.float32]] | None = None

    def __call__(self, frame: NDArray[np.uint8], probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
        height, width = probabilities.shape[1:]
        if self._past_weight == 0 or min(height, width) < MIN_SIDE:
            return probabilities
        grey = cv2.cvtColor(cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
        result = probabilities
        if not self._is_cut(frame) and self._past is not None:
            past_grey, past = self._past
            warped, valid = self._warp_past(np.asarray(grey, np.uint8), past_grey, past)
            result = probabilities + self._past_weight * valid * (warped - probabilities)
        self._past = np.asarray(grey, np.uint8), result
        return result

    def _warp_past(
        self, grey: NDArray[np.uint8], past_grey: NDArray[np.uint8], past: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(the past probabilities warped to the present frame, [L, h, w]; where they are valid, [h, w] in {0, 1})."""
        zeros = np.zeros((*grey.shape, 2), np.float32)
        backward, forward = self._flow.calc(grey, past_grey, zeros.copy()), self._flow.calc(past_grey, grey, zeros)
        y, x = np.mgrid[: grey.shape[0], : grey.shape[1]].astype(np.float32)
        at_x, at_y = x + backward[..., 0], y + backward[..., 1]
        difference = backward + cv2.remap(forward, at_x, at_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=(1e3, 1e3))
        valid = (np.square(difference).sum(-1) < FLOW_TOLERANCE**2).astype(np.float32)
        warped = np.stack([cv2.remap(label, at_x, at_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE) for label in past])
        return np.asarray(warped, np.float32), valid
