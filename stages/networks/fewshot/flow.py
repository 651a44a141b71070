"""The flow network W and the soft occlusion mask M of vid2vid, as one U-Net with heads."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stages.flow.warp import warp
from stages.networks.common.frame import Frame, Warped
from stages.networks.common.layers import Encoder, UpConv, activate, conv, initialise_small, up_conv
from stages.networks.fewshot.config import FewShotConfig
from stages.networks.fewshot.motion import Candidates

REACH = 0.1
"""An output of 1 of the flow head means a tenth of the image's height."""


@dataclass(frozen=True)
class Moved:
    """S sources, each moved to the driving frame on its own."""

    image: Tensor
    """[B, S, 3, H, W]"""
    flow: Tensor
    mask: Tensor
    suits: Tensor
    """How well a source suits each place, logits [B, S, 1, H, W]; of a network for one source alone it has no channel."""

    def one(self, source: int) -> Warped:
        """The source with this number."""
        return Warped(self.image[:, source], self.flow[:, source], self.mask[:, source])

    def best(self, count: int) -> Warped:
        """The first `count` sources as one image: each place takes after the source that suits it best."""
        image, flow, mask = (x[:, :count] for x in (self.image, self.flow, self.mask))
        shares = self.suits[:, :count].softmax(1)
        largest = shares.argmax(1, keepdim=True)
        chosen = flow.gather(1, largest.expand(-1, -1, 2, -1, -1))[:, 0]
        return Warped((shares * image).sum(1), chosen, (shares * mask).sum(1), flow, shares[:, :, 0])


class FlowNetwork(nn.Module):
    """From the driving frame and a source image to the backward flow and the occlusion mask.

    With `motion="keypoints"` it also sees the source as the keypoints' candidates move it, and answers with shares of them and a residual
    flow.
    """

    def __init__(self, config: FewShotConfig) -> None:
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
        self.head = initialise_small(
            conv(channels[0], 3 + known + self.several)
        )  # starts near the identity warp, or where the keypoints lead

    def fold(self) -> None:
        """See `UpConv.fold`: beside what is doubled each layer sees what skips to it."""
        for layer in self.up if self.skips else ():
            assert isinstance(layer, UpConv)
            layer.fold(layer.in_channels - layer.out_channels)

    def forward(self, driving: Frame, sources: Frame) -> Moved:
        """S sources [B, S, ...] for each driving frame [B, ...]."""
        dtype, size, count = driving.semantic.dtype, sources.required_image.shape[-2:], sources.required_image.shape[1]
        beside = driving.semantic[:, None].expand(-1, count, -1, -1, -1)
        small = torch.cat([beside, sources.semantic, sources.required_image.to(dtype)], 2).flatten(0, 1)
        if self.stride > 1:
            small = F.avg_pool2d(small, self.stride)
        reach = REACH * size[0]
        if self.candidates is None:
            coarse = self._answer(small)
        else:
            known = self.candidates(driving.keypoints, sources.keypoints, (size[0], size[1]), self.stride)
            flows, prior = (x.flatten(0, 1) for x in known)
            still = small[:, -3:]
            answer = self._answer(torch.cat([small, *(self._moved(still, flow) for flow in flows.unbind(1)[1:])], 1))
            residual, rest, said = answer.split([2, answer.shape[1] - 2 - flows.shape[1], flows.shape[1]], 1)
            shares = (prior + said * SURENESS).softmax(1)
            coarse = torch.cat([(shares[:, :, None] * flows).sum(1) / reach + residual, rest], 1)
        fine = F.interpolate(coarse, size=size, mode="bilinear", align_corners=False) if self.stride > 1 else coarse
        flow, mask, suits = fine[:, :2] * reach, fine[:, 2:3], fine[:, 3:4] * SURENESS
        image = warp(sources.required_image.flatten(0, 1), flow)
        return Moved(*(x.unflatten(0, (-1, count)) for x in (image, flow, mask, suits)))

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
        """An image at W's size moved by a flow in pixels of the whole image."""
        return warp(small, flow / self.stride).to(small.dtype)


SURENESS = 4.0
"""Factor of the logits of all shares, which makes them learn faster and become sharper."""
