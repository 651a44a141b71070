"""A driving kind (kind.py): bodies with DensePose in addition to the skeleton."""

from __future__ import annotations

import cv2
import numpy as np

from stages.clip import Clip, Layer
from stages.conditions import poses
from stages.conditions.kinds import bodies
from stages.conditions.kinds.bodies import PoseTrack
from stages.conditions.kinds.kind import Kind
from stages.conditions.tracks import DetectorNoise, select_main_subject
from stages.conditions.view import View

MIRROR = np.array(
    [0, 1, 2, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15, 18, 17, 20, 19, 22, 21, 24, 23, *range(25, 256)], dtype=np.uint8
)
"""Lookup [256] of part -> part of the other side, for the 24 parts of DensePose."""


class DensePoseTrack(PoseTrack):
    """The channels of s_t are the three of the drawn skeletons, then part / 24, U and V of the layer `densepose`.

    A mirrored view exchanges left and right parts. U and V keep their values, because their directions differ between parts.
    """

    channels = 6

    def __init__(self, keypoints: np.ndarray, surface: Layer) -> None:
        super().__init__(keypoints)
        self.surface = surface

    def semantic(self, index: int, view: View, noise: DetectorNoise | None = None) -> np.ndarray:
        iuv = view.image(self.surface.image(index), cv2.INTER_NEAREST)
        parts = MIRROR[iuv[..., 0]] if view.mirrored else iuv[..., 0]
        surface = np.stack([parts / 24, iuv[..., 1] / 255, iuv[..., 2] / 255]).clip(0, 1)
        return np.concatenate([super().semantic(index, view, noise), surface.astype(np.float32)])


def _open(clip: Clip) -> DensePoseTrack:
    return DensePoseTrack(select_main_subject(poses.whole_bodies(clip.layer("poses").arrays())), clip.layer("densepose"))


KIND = Kind(
    name="poses+densepose",
    layers=("poses", "densepose"),
    open=_open,
    appearance_coordinates=bodies.appearance_coordinates,
    draw=bodies.draw,
    channels=DensePoseTrack.channels,
    pose=bodies.pose,
    remedies={"densepose": "Run DensePose and import its IUV images"},
)
