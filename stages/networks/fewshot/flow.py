"""The flow network W and the soft occlusion mask M of vid2vid, as one U-Net with a common output layer."""

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

FLOW_UNIT = 0.1
"""The flow for an output of 1, in heights of the image."""
SHARE_SCALE = 4.0
"""Factor of the logits of all shares, which makes them learn faster and become sharper."""


@dataclass(frozen=True)
class WarpedSources:
    """S sources, each warped to the driving frame."""

    image: Tensor
    """[B, S, 3, H, W]"""
    flow: Tensor
    """Backward, [B, S, 2, H, W] in pixels."""
    mask: Tensor
    """[B, S, 1, H, W] logits, as `Warped.mask`."""
    share_logits: Tensor
    """How well a source fits each position, [B, S, 1, H, W]; [B, S, 0, H, W] without `warp_all`."""

    def select(self, source: int) -> Warped:
        """The source with this number."""
        return Warped(self.image[:, source], self.flow[:, source], self.mask[:, source])

    def blend(self, count: int) -> Warped:
        """The first `count` sources as one image, with shares from a softmax of `share_logits`."""
        image, flow, mask = (x[:, :count] for x in (self.image, self.flow, self.mask))
        shares = self.share_logits[:, :count].softmax(1)
        largest = shares.argmax(1, keepdim=True)
        chosen = flow.gather(1, largest.expand(-1, -1, 2, -1, -1))[:, 0]
        return Warped((shares * image).sum(1), chosen, (shares * mask).sum(1), flow, shares[:, :, 0])


class FlowNetwork(nn.Module):
    """Predicts the backward flow and the occlusion mask from the driving frame and a source image.

    With `motion="keypoints"` it also sees the source warped by each candidate motion of the keypoints, and predicts the share of each
    candidate and a residual flow.
    """

    def __init__(self, config: FewShotConfig) -> None:
        super().__init__()
        channels, skips, spectral = config.flow_channels, config.flow_skips, config.spectral
        self.stride, self.skips = config.flow_stride, skips
        self.candidates = Candidates(config) if config.motion == "keypoints" else None
        candidates = 0 if self.candidates is None else self.candidates.count
        inputs = 2 * config.semantic_channels + 3 + 3 * max(candidates - 1, 0)  # the first candidate, identity, is the source itself
        self.encoder = Encoder(inputs, channels, spectral=spectral)
        self.blocks = nn.ModuleList(conv(channels[-1], channels[-1], spectral=spectral) for _ in range(2 * config.flow_blocks))
        self.up = nn.ModuleList(up_conv(b + a if skips else b, a, spectral=spectral) for a, b in zip(channels, channels[1:], strict=False))
        self.several = config.warp_all
        # small weights: the warp starts near the identity, or with `motion="keypoints"` near the prior of the candidates
        self.head = initialise_small(conv(channels[0], 3 + candidates + self.several))

    def fold(self) -> None:
        """Fold the upsampling layers with their skip connections; see `UpConv.fold`."""
        for layer in self.up if self.skips else ():
            assert isinstance(layer, UpConv)
            layer.fold(layer.in_channels - layer.out_channels)

    def forward(self, driving: Frame, sources: Frame) -> WarpedSources:
        """Warps S sources [B, S, ...] to each driving frame [B, ...]."""
        dtype, size, count = driving.semantic.dtype, sources.required_image.shape[-2:], sources.required_image.shape[1]
        repeated = driving.semantic[:, None].expand(-1, count, -1, -1, -1)
        small = torch.cat([repeated, sources.semantic, sources.required_image.to(dtype)], 2).flatten(0, 1)
        if self.stride > 1:
            small = F.avg_pool2d(small, self.stride)
        unit = FLOW_UNIT * size[0]
        if self.candidates is None:
            coarse = self._predict(small)
        else:
            candidates = self.candidates(driving.keypoints, sources.keypoints, (size[0], size[1]), self.stride)
            flows, prior = (x.flatten(0, 1) for x in candidates)
            small_image = small[:, -3:]
            output = self._predict(torch.cat([small, *(self._warp_small(small_image, flow) for flow in flows.unbind(1)[1:])], 1))
            residual, other, logits = output.split([2, output.shape[1] - 2 - flows.shape[1], flows.shape[1]], 1)
            shares = (prior + logits * SHARE_SCALE).softmax(1)
            coarse = torch.cat([(shares[:, :, None] * flows).sum(1) / unit + residual, other], 1)
        fine = F.interpolate(coarse, size=size, mode="bilinear", align_corners=False) if self.stride > 1 else coarse
        flow, mask, share_logits = fine[:, :2] * unit, fine[:, 2:3], fine[:, 3:4] * SHARE_SCALE
        image = warp(sources.required_image.flatten(0, 1), flow)
        return WarpedSources(*(x.unflatten(0, (-1, count)) for x in (image, flow, mask, share_logits)))

    def _predict(self, small: Tensor) -> Tensor:
        """Inputs at W's size -> flow in units of `FLOW_UNIT`, mask logits, share logits of the source if any, logits of the candidates."""
        levels = self.encoder(small)
        x = levels[-1]
        for first, second in zip(self.blocks[::2], self.blocks[1::2], strict=True):
            x = x + second(activate(first(activate(x))))
        for level in reversed(range(len(self.up))):
            x = activate(self.up[level](x, levels[level] if self.skips else None))
        output: Tensor = self.head(x).float()
        return output

    def _warp_small(self, small: Tensor, flow: Tensor) -> Tensor:
        """An image at W's size, warped by a flow in pixels of the full-size image."""
        return warp(small, flow / self.stride).to(small.dtype)
