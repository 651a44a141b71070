"""The flow network W and the soft occlusion mask M of vid2vid, as one U-Net with two heads."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stages.flow.warp import warp
from stages.networks.layers import Encoder, activate, conv, quiet, up_conv

REACH = 0.1
"""An output of 1 of the flow head means a tenth of the picture's height."""


class Warped(NamedTuple):
    """A source picture moved to the driving frame."""

    image: Tensor
    """[B, 3, H, W]"""
    flow: Tensor
    """[B, 2, H, W] pixels, backward."""
    mask: Tensor
    """[B, 1, H, W] logits: high = hallucinate, low = trust the warp."""


class FlowNetwork(nn.Module):
    """From the driving semantic image, a source picture and its semantic image to the backward flow and the occlusion mask."""

    def __init__(
        self, semantic: int, channels: tuple[int, ...], blocks: int, stride: int, *, skips: bool = True, spectral: bool = False
    ) -> None:
        super().__init__()
        self.stride, self.skips = stride, skips
        self.encoder = Encoder(2 * semantic + 3, channels, spectral=spectral)
        self.blocks = nn.ModuleList(conv(channels[-1], channels[-1], spectral=spectral) for _ in range(2 * blocks))
        self.up = nn.ModuleList(up_conv(b + a if skips else b, a, spectral=spectral) for a, b in zip(channels, channels[1:], strict=False))
        self.head = quiet(conv(channels[0], 3))  # starts near the identity warp

    def forward(self, semantic: Tensor, source: Tensor, source_semantic: Tensor) -> Warped:
        """semantic, source_semantic [B, S, H, W]; source [B, 3, H, W] in [-1, 1]."""
        small = torch.cat([semantic, source_semantic, source.to(semantic.dtype)], 1)
        if self.stride > 1:
            small = F.avg_pool2d(small, self.stride)
        levels = self.encoder(small)
        x = levels[-1]
        for first, second in zip(self.blocks[::2], self.blocks[1::2], strict=True):
            x = x + second(activate(first(activate(x))))
        for level in reversed(range(len(self.up))):
            x = activate(self.up[level](x, levels[level] if self.skips else None))
        coarse = self.head(x).float()
        fine = F.interpolate(coarse, size=source.shape[-2:], mode="bilinear", align_corners=False) if self.stride > 1 else coarse
        flow = fine[:, :2] * (REACH * source.shape[-2])
        return Warped(warp(source, flow), flow, fine[:, 2:])
