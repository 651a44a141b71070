"""The driving kind of COVST: label maps and the optical flow to the previous frame.

The authors of vid2vid give COVST the "ground truth" flow, which FlowNet2 estimates in the real video. Here DIS estimates it in the real
frames of the driving clip, as for the losses of all methods.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from stages.clip import Clip
from stages.conditions.kinds import streets
from stages.conditions.kinds.streets import LabelTrack
from stages.conditions.tracks import DetectorNoise
from stages.conditions.view import View
from stages.flow.backends.dis import dis_flow

FLOW_CHANNELS = 2
"""The last channels of s_t: the backward flow (dx, dy), in pixels of the view."""


class LabelFlowTrack(LabelTrack):
    """One-hot label maps, and the flow from each frame to the previous one; zeros for the first frame."""

    def __init__(self, clip: Clip) -> None:
        super().__init__(clip.layer("segment"))
        self.clip = clip
        self.channels += FLOW_CHANNELS

    def semantic(self, index: int, view: View, noise: DetectorNoise | None = None) -> np.ndarray:
        planes = super().semantic(index, view, noise)
        return np.concatenate([planes, self._flow(index, view)])

    def _flow(self, index: int, view: View) -> np.ndarray:
        """float32 [2, H, W], in pixels of the view, because it is estimated in images transformed by the view."""
        if index == 0:
            return np.zeros((FLOW_CHANNELS, view.height, view.width), np.float32)
        present, before = (view.image(self.clip.frame(i)) for i in (index, index - 1))
        return dis_flow(present, before).transpose(2, 0, 1)


def _draw(semantic: Tensor) -> Tensor:
    return streets.KIND.draw(split_flow(semantic)[0])


def split_flow(semantic: Tensor) -> tuple[Tensor, Tensor]:
    """s_t [B, S + 2, H, W] -> label maps [B, S, H, W] and flow [B, 2, H, W]."""
    labels, flow = torch.tensor_split(semantic, [-FLOW_CHANNELS], 1)
    return labels, flow


LABELS_AND_FLOW = replace(
    streets.KIND,
    name="segment+flow",
    layers=("segment", "frames"),
    open=LabelFlowTrack,
    draw=_draw,
    dataset=None,
    extractor="",
    default_model="",
)
