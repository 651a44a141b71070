"""Building blocks of the residual generators (pix2pixHD, vid2vid): 7x7 and upsampling convolutions, norms, residual blocks.

The 7x7 convolutions and those of residual blocks use reflection padding. Weights start at N(0, 0.02).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from stages.networks.common.layers import InstanceNorm

WINOGRAD_FROM = 512
"""Number of channels from which on Winograd's form of a convolution is faster."""


class AffineInstanceNorm(InstanceNorm):
    """Instance norm with a learned scale and shift for each channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        if len(x) == 1:
            return F.batch_norm(x, None, None, self.weight, self.bias, training=True)
        return F.instance_norm(x, weight=self.weight, bias=self.bias)


class Conv3x3(nn.Conv2d):
    """A 3x3 convolution with reflection padding.

    `fold` turns a wide one into Winograd's F(2x2, 3x3) (Lavin and Gray 2016): 16 products for 4 pixels instead of 36, the same result. On
    the CPU it is twice as fast from 512 channels on; with fewer channels the transforms cost what the products save.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 3, 1, 1, padding_mode="reflect")
        self.folded = False

    def forward(self, x: Tensor) -> Tensor:
        if not self.folded:
            return super().forward(x)
        samples = [winograd(sample, self.weight, self.bias) for sample in x.split(1)]
        return samples[0] if len(samples) == 1 else torch.cat(samples)

    @torch.no_grad()
    def fold(self) -> None:
        """From now on compute the fast way; the weight [O, C, 3, 3] becomes that of `winograd`."""
        if self.weight.device.type == "cpu" and min(self.weight.shape[:2]) >= WINOGRAD_FROM and not self.folded:
            transform = self.weight.new_tensor([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
            weight = torch.einsum("ar,oirs,bs->abio", transform, self.weight, transform)
            self.weight, self.folded = nn.Parameter(weight.flatten(0, 1).contiguous(), requires_grad=False), True


def winograd(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x [1, C, H, W], weight [16, C, O] -> the 3x3 convolution of x with reflection padding, [1, O, H, W]."""
    assert bias is not None
    height, width = (-(-side // 2) for side in x.shape[2:])
    right, below = 2 * width - x.shape[3], 2 * height - x.shape[2]
    padded = F.pad(F.pad(x, (1, 1, 1, 1), mode="reflect"), (0, right, 0, below))[0].permute(1, 2, 0)
    tiles = x.new_empty(4, 4, height, width, x.shape[1])
    for row, band in enumerate(_to_tiles([padded[k : k + 2 * height : 2] for k in range(4)])):
        torch.stack(_to_tiles([band[:, k : k + 2 * width : 2] for k in range(4)]), out=tiles[row])
    products = torch.bmm(tiles.view(16, height * width, -1), weight).view(4, 4, height, width, -1)
    made = x.new_empty(2 * height, 2 * width, len(bias))
    for row, band in enumerate(_from_tiles(products)):
        for column, values in enumerate(_from_tiles(band)):
            torch.add(values, bias, out=made[row::2, column::2])
    return made[: x.shape[2], : x.shape[3]].permute(2, 0, 1)[None]


def _to_tiles(d: Sequence[Tensor]) -> list[Tensor]:
    return [d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]]


def _from_tiles(m: Sequence[Tensor] | Tensor) -> list[Tensor]:
    return [m[0] + m[1] + m[2], m[1] - m[2] - m[3]]


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with a skip connection. `recomputes`: it keeps no activations for the gradients, but computes them again."""

    def __init__(self, channels: int, *, affine: bool = False) -> None:
        super().__init__()
        self.recomputes = False
        first, second = Conv3x3(channels, channels), Conv3x3(channels, channels)
        self.layers = nn.Sequential(*normed(first, affine=affine), second, _norm(channels, affine))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = checkpoint(self.layers, x, use_reentrant=False) if self.recomputes else self.layers(x)
        return y.add_(x)


def conv7x7(inputs: int, outputs: int) -> nn.Conv2d:
    """The first or last convolution of a network, 7x7."""
    return nn.Conv2d(inputs, outputs, 7, 1, 3, padding_mode="reflect")


def downsampling(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, 2, 1)


def upsampling(inputs: int, outputs: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(inputs, outputs, 3, 2, 1, output_padding=1)


@torch.no_grad()
def joined(layers: Sequence[nn.Conv2d]) -> nn.Conv2d:
    """7x7 convolutions of the same input as one, whose outputs are theirs one after another."""
    one = conv7x7(layers[0].in_channels, sum(layer.out_channels for layer in layers))
    one.weight, one.bias = (nn.Parameter(torch.cat([getattr(layer, name) for layer in layers])) for name in ("weight", "bias"))
    return one


def normed(layer: nn.Conv2d | nn.ConvTranspose2d, *, affine: bool = False) -> tuple[nn.Module, ...]:
    """The layer, its norm and its ReLU."""
    return layer, _norm(layer.out_channels, affine), nn.ReLU(inplace=True)


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
