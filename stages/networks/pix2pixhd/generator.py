"""The generator of pix2pixHD (Wang et al. 2018, section 3.2): a global network, and local enhancers that add detail at larger sizes.

The norms are instance norms without parameters.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from stages.networks.common.frame import Frame
from stages.networks.common.generator import Code, Generator, Synthesis
from stages.networks.common.residual import conv7x7, decoder, encoder, half_size, initialise
from stages.networks.pix2pixhd.config import Pix2PixHDConfig


class Pix2PixHD(Generator):
    """Makes each frame only from its semantic image."""

    config: Pix2PixHDConfig

    def __init__(self, config: Pix2PixHDConfig) -> None:
        super().__init__()
        self.config = c = config
        self.coarse = GlobalNetwork(c.semantic_channels, c.filters, c.downs, c.blocks)
        widths = [c.filters // 2 ** (level + 1) for level in range(c.enhancers)]
        self.enhancers = nn.ModuleList(LocalEnhancer(c.semantic_channels, width, c.enhancer_blocks) for width in widths)
        self.to_image = conv7x7(([c.filters, *widths])[-1], 3)
        self.apply(initialise)

    def encode_examples(self, examples: Frame | None) -> Code:
        return Code(examples)

    def select_examples(self, code: Code, indices: Sequence[int]) -> Code:
        return code

    def synthesize(self, code: Code, driving: Frame, past: Frame | None = None) -> Synthesis:
        pyramid = [driving.semantic]
        for _ in self.enhancers:
            pyramid.append(half_size(pyramid[-1]))
        features = self.coarse(pyramid[-1])
        for enhancer, semantic in zip(self.enhancers, reversed(pyramid[:-1]), strict=True):
            features = enhancer(semantic, features)
        frame = torch.tanh(self.to_image(features).float())
        return Synthesis(frame, frame)


class GlobalNetwork(nn.Sequential):
    """G1: [B, S, H, W] -> features [B, filters, H, W] for the first enhancer or, without enhancers, for the last layer."""

    def __init__(self, inputs: int, filters: int, downs: int, blocks: int) -> None:
        widths = [filters * 2**level for level in range(downs + 1)]
        super().__init__(*encoder(inputs, widths, blocks), *decoder(widths, 0))


class LocalEnhancer(nn.Module):
    """G2: adds features of the coarser network to those of its own encoder, and decodes the sum."""

    def __init__(self, inputs: int, filters: int, blocks: int) -> None:
        super().__init__()
        widths = [filters, 2 * filters]
        self.down, self.up = encoder(inputs, widths, 0), decoder(widths, blocks)

    def forward(self, semantic: Tensor, coarse: Tensor) -> Tensor:
        """semantic [B, S, H, W], coarse [B, 2 filters, H/2, W/2] -> features [B, filters, H, W]."""
        features: Tensor = self.up(self.down(semantic) + coarse)
        return features
