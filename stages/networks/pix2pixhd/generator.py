"""The generator of pix2pixHD (Wang et al. 2018, section 3.2): a global network, and local enhancers that add detail at larger pyramid.

Convolutions are padded by reflection where the paper does so and start at N(0, 0.02); norms are instance norms without parameters.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stages.networks.common.frame import Frame
from stages.networks.common.generator import Code, Generator, Synthesis
from stages.networks.common.layers import InstanceNorm
from stages.networks.pix2pixhd.config import Pix2PixHDConfig


class Pix2PixHD(Generator):
    """Each frame from its own semantic image alone."""

    config: Pix2PixHDConfig

    def __init__(self, config: Pix2PixHDConfig) -> None:
        super().__init__()
        self.config = c = config
        self.coarse = GlobalNetwork(c.semantic_channels, c.filters, c.downs, c.blocks)
        widths = [c.filters // 2 ** (level + 1) for level in range(c.enhancers)]
        self.enhancers = nn.ModuleList(LocalEnhancer(c.semantic_channels, width, c.enhancer_blocks) for width in widths)
        self.to_image = _outer(([c.filters, *widths])[-1], 3)
        self.apply(_initialise)

    def encode_examples(self, examples: Frame | None) -> Code:
        return Code(examples)

    def choose(self, code: Code, indices: Sequence[int]) -> Code:
        return code

    def synthesize(self, code: Code, driving: Frame, past: Frame | None = None) -> Synthesis:
        pyramid = [driving.semantic]
        for _ in self.enhancers:
            pyramid.append(F.avg_pool2d(pyramid[-1], 3, 2, 1, count_include_pad=False))
        features = self.coarse(pyramid[-1])
        for enhancer, semantic in zip(self.enhancers, reversed(pyramid[:-1]), strict=True):
            features = enhancer(semantic, features)
        frame = torch.tanh(self.to_image(features).float())
        return Synthesis(frame, frame)


class GlobalNetwork(nn.Sequential):
    """G1: [B, S, H, W] -> features [B, filters, H, W], from which `to_image` makes the image."""

    def __init__(self, inputs: int, filters: int, downs: int, blocks: int) -> None:
        widths = [filters * 2**level for level in range(downs + 1)]
        pairs = list(zip(widths, widths[1:], strict=False))
        super().__init__(
            *_normed(_outer(inputs, filters)),
            *(layer for a, b in pairs for layer in _normed(nn.Conv2d(a, b, 3, 2, 1))),
            *(ResidualBlock(widths[-1]) for _ in range(blocks)),
            *(layer for a, b in reversed(pairs) for layer in _normed(_doubling(b, a))),
        )


class LocalEnhancer(nn.Module):
    """G2: adds the coarse features to its own and refines the sum."""

    def __init__(self, inputs: int, filters: int, blocks: int) -> None:
        super().__init__()
        self.down = nn.Sequential(*_normed(_outer(inputs, filters)), *_normed(nn.Conv2d(filters, 2 * filters, 3, 2, 1)))
        self.up = nn.Sequential(*(ResidualBlock(2 * filters) for _ in range(blocks)), *_normed(_doubling(2 * filters, filters)))

    def forward(self, semantic: Tensor, coarse: Tensor) -> Tensor:
        """semantic [B, S, H, W], coarse [B, 2 filters, H/2, W/2] -> features [B, filters, H, W]."""
        features: Tensor = self.up(self.down(semantic) + coarse)
        return features


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        first, second = (nn.Conv2d(channels, channels, 3, 1, 1, padding_mode="reflect") for _ in range(2))
        self.layers = nn.Sequential(*_normed(first), second, InstanceNorm())

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.layers(x)
        return y


def _outer(inputs: int, outputs: int) -> nn.Module:
    return nn.Conv2d(inputs, outputs, 7, 1, 3, padding_mode="reflect")


def _doubling(inputs: int, outputs: int) -> nn.Module:
    return nn.ConvTranspose2d(inputs, outputs, 3, 2, 1, output_padding=1)


def _normed(layer: nn.Module) -> tuple[nn.Module, ...]:
    return layer, InstanceNorm(), nn.ReLU()


def _initialise(module: nn.Module) -> None:
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.normal_(module.weight, 0.0, 0.02)
        assert module.bias is not None
        nn.init.zeros_(module.bias)
