"""Building blocks of the residual generators (pix2pixHD, vid2vid): 7x7 and upsampling convolutions, norms, residual blocks.

The 7x7 convolutions and those of residual blocks use reflection padding. Weights start at N(0, 0.02).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stages.networks.common.layers import InstanceNorm


class AffineInstanceNorm(InstanceNorm):
    """Instance norm with a learned scale and shift for each channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        if len(x) == 1:
            return F.batch_norm(x, None, None, self.weight, self.bias, training=True)
        return F.instance_norm(x, weight=self.weight, bias=self.bias)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with a skip connection."""

    def __init__(self, channels: int, *, affine: bool = False) -> None:
        super().__init__()
        first, second = (nn.Conv2d(channels, channels, 3, 1, 1, padding_mode="reflect") for _ in range(2))
        self.layers = nn.Sequential(*normed(first, affine=affine), second, _norm(channels, affine))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.layers(x)
        return y


def conv7x7(inputs: int, outputs: int) -> nn.Conv2d:
    """The first or last convolution of a network, 7x7."""
    return nn.Conv2d(inputs, outputs, 7, 1, 3, padding_mode="reflect")


def downsampling(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, 2, 1)


def upsampling(inputs: int, outputs: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(inputs, outputs, 3, 2, 1, output_padding=1)


def normed(layer: nn.Conv2d | nn.ConvTranspose2d, *, affine: bool = False) -> tuple[nn.Module, ...]:
    """The layer, its norm and its ReLU."""
    return layer, _norm(layer.out_channels, affine), nn.ReLU()


def encoder(inputs: int, widths: Sequence[int], blocks: int, *, affine: bool = False) -> nn.Sequential:
    """[B, inputs, H, W] -> [B, widths[-1], H / 2^n, W / 2^n], with n + 1 widths, the first at full size; then residual blocks."""
    return nn.Sequential(
        *normed(conv7x7(inputs, widths[0]), affine=affine),
        *(layer for a, b in zip(widths, widths[1:], strict=False) for layer in normed(downsampling(a, b), affine=affine)),
        *(ResidualBlock(widths[-1], affine=affine) for _ in range(blocks)),
    )


def decoder(widths: Sequence[int], blocks: int, *, affine: bool = False) -> nn.Sequential:
    """Residual blocks, then the mirror of `encoder`: [B, widths[-1], h, w] -> [B, widths[0], h 2^n, w 2^n]."""
    pairs = list(zip(widths, widths[1:], strict=False))
    return nn.Sequential(
        *(ResidualBlock(widths[-1], affine=affine) for _ in range(blocks)),
        *(layer for a, b in reversed(pairs) for layer in normed(upsampling(b, a), affine=affine)),
    )


def initialise(module: nn.Module) -> None:
    """For `nn.Module.apply`."""
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.normal_(module.weight, 0.0, 0.02)
        assert module.bias is not None
        nn.init.zeros_(module.bias)
    elif isinstance(module, AffineInstanceNorm):
        nn.init.normal_(module.weight, 1.0, 0.02)


def half_size(image: Tensor) -> Tensor:
    """[B, C, H, W] -> [B, C, H / 2, W / 2]: the mean of 3x3 pixels, fewer at the border."""
    return F.avg_pool2d(image, 3, 2, 1, count_include_pad=False)


def _norm(channels: int, affine: bool) -> nn.Module:
    return AffineInstanceNorm(channels) if affine else InstanceNorm()
