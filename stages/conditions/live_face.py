"""Fits a driver's face to an example's face frame by frame, without later frames."""

from __future__ import annotations

import numpy as np

from stages.conditions.facial_motion import FacialMotion
from stages.conditions.landmarks import LANDMARKS
from stages.conditions.motion import UNCHANGED, Motion
from stages.conditions.normalise import nearest_weights, normalise

REFERENCE_FRAMES = 25
"""The driver's proportions and the start of relative motion are measured in the first frames with a face, up to this number."""
SMOOTHED_FRAMES = 3
"""Number of frames, including the current one, over which landmarks are smoothed."""
SMOOTHING_DISTANCE = 0.01
"""Standard deviation of the smoothing weights, as a share of the face's size. A landmark that moves much further in a frame is hardly
smoothed, so that fast motion does not lag."""


class LiveFace:
    """Called with the driver's face in each frame, it returns the face that drives the model: smoothed, and fitted to the example.

    example: landmarks and irises [78, 3] in the model's pixels. proportions, motion: as for a clip (`normalise`, `FacialMotion`). For a
    clip, proportions and the start of motion are measured in all frames; here in the first `REFERENCE_FRAMES`.
    """

    def __init__(self, example: np.ndarray, *, proportions: bool = True, motion: Motion = UNCHANGED) -> None:
        self._example, self._proportions, self._motion = example, proportions, motion
        self._references: list[np.ndarray] = []
        self._recent: list[np.ndarray] = []

    def restart(self) -> None:
        """Measure proportions and the start of motion again, from the next frame on."""
        self._references.clear()
        self._recent.clear()

    def __call__(self, face: np.ndarray) -> np.ndarray:
        """face [78, 3] in pixels of any image -> [78, 3] in the model's pixels."""
        face = self._smoothed(face)
        if len(self._references) < REFERENCE_FRAMES:
            self._references.append(face)
        driving = np.stack([*self._references, face])
        weights = nearest_weights(driving[:-1, :LANDMARKS, :2], self._example[:LANDMARKS, :2])
        weights = np.append(weights, 0.0)
        fitted = normalise(driving, self._example, proportions=self._proportions, weights=weights)
        if self._motion.unchanged:
            return np.asarray(fitted[-1])
        return np.asarray(FacialMotion(fitted, self._example, weights).apply(self._motion)[-1])

    def _smoothed(self, face: np.ndarray) -> np.ndarray:
        """The mean over the last frames, in which a point has a smaller weight the farther it is from its current position."""
        self._recent = [*self._recent[1 - SMOOTHED_FRAMES :], face]
        size = max(float(np.ptp(face[:LANDMARKS, :2], axis=0).max()), 1.0)
        recent = np.stack(self._recent)
        distance = np.linalg.norm(recent[..., :2] - face[:, :2], axis=-1) / (SMOOTHING_DISTANCE * size)
        weights = np.where((recent[..., 2] > 0) & (face[:, 2] > 0), np.exp(-0.5 * distance**2), 0.0)[..., None]
        weights[-1] = 1.0
        smooth: np.ndarray = face.copy()
        smooth[:, :2] = (weights * recent[..., :2]).sum(0) / weights.sum(0)
        return smooth
