"""The driving kind of PoseWarp (section 3) and MonkeyNet (section 3.1): the drawn skeleton and a heat map for each joint.

Heat maps encode the exact position of a joint; `joint_positions` decodes it. The drawn skeleton comes first in s_t, so that training images
show the same as for the other methods.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from stages.clip import Clip
from stages.conditions.kinds import bodies, open_track
from stages.conditions.kinds.bodies import PoseTrack
from stages.conditions.poses import NAMES, draw_pose
from stages.conditions.tracks import DetectorNoise
from stages.conditions.view import View

DRAWN = 3
"""Channels of the drawn skeleton, which come before those of the joints."""
CHANNELS = DRAWN + len(NAMES)
SPREAD = 1 / 64
"""Standard deviation of a joint's Gaussian, relative to the height of the image."""
MIN_SHARE_INSIDE = 0.7
"""A joint counts as missing when less than this share of its Gaussian lies in the image."""


class JointTrack(PoseTrack):
    """Keypoints [T, P, 25, 3] as the drawn skeleton and a heat map for each joint of the first person."""

    channels = CHANNELS

    def semantic(self, index: int, view: View, noise: DetectorNoise | None = None) -> np.ndarray:
        people = self._people(index, view, noise)
        drawn = draw_pose(people, view.height, view.width).astype(np.float32).transpose(2, 0, 1) / 255
        return np.concatenate([drawn, heat_maps(people[0, : len(NAMES)], view.height, view.width)])


def open_joints(clip: Clip) -> JointTrack:
    """The joints of a clip's layer `poses`."""
    track = open_track(clip, "poses")
    assert isinstance(track, PoseTrack)
    return JointTrack(track.bodies)


JOINTS = replace(bodies.KIND, name="poses+joints", open=open_joints, channels=CHANNELS, fits_example=False, result_arrays=None)
"""The driving kind of PoseWarp and MonkeyNet."""


def heat_maps(joints: np.ndarray, height: int, width: int) -> np.ndarray:
    """joints [N, 3] (x, y in pixels, confidence) -> float32 [N, height, width], 1 at each joint; zeros for a missing joint."""
    spread = SPREAD * height
    across = np.exp(-((np.arange(width) - joints[:, :1]) ** 2) / (2 * spread**2))
    down = np.exp(-((np.arange(height) - joints[:, 1:2]) ** 2) / (2 * spread**2))
    return ((joints[:, 2:3] > 0) * down)[:, :, None].astype(np.float32) * across[:, None, :].astype(np.float32)


def joint_positions(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Joint positions (x, y) in pixels [B, N, 2], the means of heat maps [B, N, H, W], and whether each joint is present, bool [B, N].

    A joint closer than half a standard deviation to the border counts as missing. Missing joints have the position 0, 0.
    """
    maps = maps.float()
    height, width = maps.shape[-2:]
    mass = maps.sum((2, 3))
    present = mass > MIN_SHARE_INSIDE * 2 * math.pi * (SPREAD * height) ** 2
    x = (maps.sum(2) * torch.arange(width, device=maps.device)).sum(-1)
    y = (maps.sum(3) * torch.arange(height, device=maps.device)).sum(-1)
    means = torch.stack([x, y], -1) / mass.clamp(min=1e-6)[..., None]
    return torch.where(present[..., None], means, 0), present


def joints_of(semantic: Tensor) -> Tensor:
    """The heat maps [B, 25, H, W] of a semantic image [B, 28, H, W]."""
    return semantic[:, DRAWN:]
