"""The flow network W and the soft occlusion mask M of vid2vid, as one U-Net with heads."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stages.flow.warp import warp
from stages.networks.config import GeneratorConfig
from stages.networks.frame import Frame
from stages.networks.layers import Encoder, activate, conv, quiet, up_conv
from stages.networks.motion import Candidates

REACH = 0.1
"""An output of 1 of the flow head means a tenth of the picture's height."""


@dataclass(frozen=True)
class Warped:
    """A source picture moved to the driving frame. Of several sources each place shows one."""

    image: Tensor
    """[B, 3, H, W]"""
    flow: Tensor
    """[B, 2, H, W] pixels, backward; of several sources that of the one with the largest share."""
    mask: Tensor
    """[B, 1, H, W] logits: high = hallucinate, low = trust the warp."""
    flows: Tensor | None = None
    """Of each of several sources, [B, K, 2, H, W]."""
    shares: Tensor | None = None
    """How much of each place comes from which of several sources, [B, K, H, W]."""


class FlowNetwork(nn.Module):
    """From the driving frame and a source picture to the backward flow and the occlusion mask.

    With `motion="keypoints"` it also sees the source as the keypoints' candidates move it, and answers with shares of them and a residual
    flow.
    """

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        channels, skips, spectral = config.flow_channels, config.flow_skips, config.spectral
        self.stride, self.skips = config.flow_stride, skips
        self.candidates = Candidates(config) if config.motion == "keypoints" else None
        known = 0 if self.candidates is None else self.candidates.count
        seen = 2 * config.semantic_channels + 3 + 3 * max(known - 1, 0)  # the first candidate, identity, is the source itself
        self.encoder = Encoder(seen, channels, spectral=spectral)
        self.blocks = nn.ModuleList(conv(channels[-1], channels[-1], spectral=spectral) for _ in range(2 * config.flow_blocks))
        self.up = nn.ModuleList(up_conv(b + a if skips else b, a, spectral=spectral) for a, b in zip(channels, channels[1:], strict=False))
        self.several = config.warp_all
        self.head = quiet(conv(channels[0], 3 + known + self.several))  # starts near the identity warp, or where the keypoints lead

    def forward(self, driving: Frame, source: Frame) -> Warped:
        """One source [B, ...] for each driving frame [B, ...]."""
        flow, mask, _ = self._move(driving, source)
        return Warped(warp(source.picture, flow), flow, mask)

    def of_several(self, driving: Frame, sources: Frame) -> Warped:
        """K sources [B, K, ...] for each driving frame [B, ...]: all are moved, and each place takes after the one it suits best."""
        count = sources.picture.shape[1]
        repeated = driving.map(lambda x: x[:, None].expand(-1, count, *x.shape[1:]).flatten(0, 1))
        flat = sources.map(lambda x: x.flatten(0, 1))
        flow, mask, suits = self._move(repeated, flat)
        moved = warp(flat.picture, flow)
        image, flow, mask, suits = (x.unflatten(0, (-1, count)) for x in (moved, flow, mask, suits))
        shares = suits.softmax(1)
        best = shares.argmax(1, keepdim=True)
        chosen = flow.gather(1, best.expand(-1, -1, 2, -1, -1))[:, 0]
        return Warped((shares * image).sum(1), chosen, (shares * mask).sum(1), flow, shares[:, :, 0])

    def _move(self, driving: Frame, source: Frame) -> tuple[Tensor, Tensor, Tensor]:
        """The flow in pixels, the mask's logits, and how well the source suits each place (a logit), each at the source's size."""
        dtype, size = driving.semantic.dtype, source.picture.shape[-2:]
        small = torch.cat([driving.semantic, source.semantic, source.picture.to(dtype)], 1)
        if self.stride > 1:
            small = F.avg_pool2d(small, self.stride)
        reach = REACH * size[0]
        if self.candidates is None:
            coarse = self._answer(small)
        else:
            flows, prior = self.candidates(driving.keypoints, source.keypoints, (size[0], size[1]), self.stride)
            still = small[:, -3:]
            answer = self._answer(torch.cat([small, *(self._moved(still, flow) for flow in flows.unbind(1)[1:])], 1))
            residual, rest, said = answer.split([2, answer.shape[1] - 2 - flows.shape[1], flows.shape[1]], 1)
            shares = (prior + said * SURENESS).softmax(1)
            coarse = torch.cat([(shares[:, :, None] * flows).sum(1) / reach + residual, rest], 1)
        fine = F.interpolate(coarse, size=size, mode="bilinear", align_corners=False) if self.stride > 1 else coarse
        return fine[:, :2] * reach, fine[:, 2:3], fine[:, 3:4] * SURENESS

    def _answer(self, small: Tensor) -> Tensor:
        levels = self.encoder(small)
        x = levels[-1]
        for first, second in zip(self.blocks[::2], self.blocks[1::2], strict=True):
            x = x + second(activate(first(activate(x))))
        for level in reversed(range(len(self.up))):
            x = activate(self.up[level](x, levels[level] if self.skips else None))
        answer: Tensor = self.head(x).float()
        return answer

    def _moved(self, small: Tensor, flow: Tensor) -> Tensor:
        """A picture at W's size moved by a flow in pixels of the whole picture."""
        return warp(small, flow / self.stride).to(small.dtype)


SURENESS = 4.0
"""Factor of the logits of all shares, which makes them learn faster and become sharper."""
