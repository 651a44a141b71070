"""The baselines of few-shot vid2vid's table 1, which have no generated weights.

Encoder: H decodes a style vector of the examples. ConcatStyle: the style vector is concatenated with every pixel of the semantic image.
AdaIN: the style vector determines the scale and shift of a normalisation after each SPADE layer. SPADE (Park et al. 2019) sees no example.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stages.networks.common.layers import SLOPE, activate, conv
from stages.networks.fewshot.config import FewShotConfig
from stages.networks.fewshot.spade import Style


class SemanticStart(nn.Module):
    """The input of H in the baselines other than Encoder: the semantic image at the size of the bottleneck, as in SPADE."""

    def __init__(self, config: FewShotConfig) -> None:
        super().__init__()
        self.reduce = 2 ** (len(config.channels) - 1)
        self.layer = conv(config.semantic_channels, config.channels[-1])

    def forward(self, semantic: Tensor) -> Tensor:
        return activate(self.layer(F.avg_pool2d(semantic, self.reduce)))


class StyleCode(nn.Module):
    """ConcatStyle: the semantic image with the style vector as further channels."""

    CHANNELS = 32

    def __init__(self, config: FewShotConfig) -> None:
        super().__init__()
        self.layer = nn.Linear(config.channels[-1], self.CHANNELS)

    def forward(self, semantic: Tensor, style: Tensor) -> Tensor:
        """[B, S, H, W], [B, C] -> [B, S + CHANNELS, H, W]."""
        code = self.layer(style)[..., None, None].expand(-1, -1, *semantic.shape[-2:])
        return torch.cat([semantic, code.to(semantic.dtype)], 1)


class StyleLayers(nn.Module):
    """AdaIN: an MLP that makes the scale and shift for the two layers of every block of H from the style vector."""

    def __init__(self, config: FewShotConfig) -> None:
        super().__init__()
        channels = [*config.channels, config.channels[-1]]
        self.features = [(channels[level + 1], channels[level]) for level in range(len(config.channels))]
        width = config.weight_hidden
        self.layers = nn.Sequential(
            nn.Linear(config.channels[-1], width), nn.LeakyReLU(SLOPE), nn.Linear(width, 2 * sum(sum(pair) for pair in self.features))
        )

    def forward(self, style: Tensor) -> list[Style]:
        """[B, C] -> the styles of the blocks of all levels, finest first."""
        parts = self.layers(style).split([2 * count for pair in self.features for count in pair], 1)
        scales_and_shifts = [(part.chunk(2, 1)[0], part.chunk(2, 1)[1]) for part in parts]
        return [Style((first, second)) for first, second in zip(scales_and_shifts[::2], scales_and_shifts[1::2], strict=True)]
