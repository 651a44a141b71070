"""Building blocks of the residual generators (pix2pixHD, vid2vid): 7x7 and upsampling convolutions, norms, residual blocks.

The 7x7 convolutions and those of residual blocks use reflection padding. The weights of convolutions are initialised from N(0, 0.02^2).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stages.networks.common.layers import InstanceNorm
from stages.networks.common.recomputing import Recomputing

MIN_WINOGRAD_CHANNELS = 512
"""Smallest number of channels for which Winograd's form of a convolution is faster."""


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

    `fold` replaces it by Winograd's F(2x2, 3x3) (Lavin and Gray 2016), with the same result: 16 products for 4 pixels instead of 36. On a
    CPU this is twice as fast for 512 channels and more. With fewer channels the transforms take the time that the products save.
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
        """Compute with `winograd` from now on, if that is faster; the weight [O, C, 3, 3] is transformed."""
        if self.weight.device.type == "cpu" and min(self.weight.shape[:2]) >= MIN_WINOGRAD_CHANNELS and not self.folded:
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
    result = x.new_empty(2 * height, 2 * width, len(bias))
    for row, band in enumerate(_from_tiles(products)):
        for column, values in enumerate(_from_tiles(band)):
            torch.add(values, bias, out=result[row::2, column::2])
    return result[: x.shape[2], : x.shape[3]].permute(2, 0, 1)[None]


def _to_tiles(d: Sequence[Tensor]) -> list[Tensor]:
    """Winograd's transform of 4 inputs along one axis, B^T d."""
    return [d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]]


def _from_tiles(m: Sequence[Tensor] | Tensor) -> list[Tensor]:
    """Winograd's transform of 4 products to 2 outputs along one axis, A^T m."""
    return [m[0] + m[1] + m[2], m[1] - m[2] - m[3]]


class ResidualBlock(Recomputing):
    """Two 3x3 convolutions with a skip connection."""

    def __init__(self, channels: int, *, affine: bool = False) -> None:
        super().__init__()
        first, second = Conv3x3(channels, channels), Conv3x3(channels, channels)
        self.layers = nn.Sequential(*norm_and_relu(first, affine=affine), second, _norm(channels, affine))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.run(self.layers, x)
        return y.add_(x)


def conv7x7(inputs: int, outputs: int) -> nn.Conv2d:
    """The first or last convolution of a network, 7x7."""
    return nn.Conv2d(inputs, outputs, 7, 1, 3, padding_mode="reflect")


def downsampling(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, 2, 1)


def upsampling(inputs: int, outputs: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(inputs, outputs, 3, 2, 1, output_padding=1)


@torch.no_grad()
def join_conv7x7(layers: Sequence[nn.Conv2d]) -> nn.Conv2d:
    """One 7x7 convolution in place of several with the same input; their outputs are concatenated."""
    joint = conv7x7(layers[0].in_channels, sum(layer.out_channels for layer in layers))
    joint.weight, joint.bias = (nn.Parameter(torch.cat([getattr(layer, name) for layer in layers])) for name in ("weight", "bias"))
    return joint


def norm_and_relu(layer: nn.Conv2d | nn.ConvTranspose2d, *, affine: bool = False) -> tuple[nn.Module, ...]:
    """The layer, a norm and a ReLU."""
    return layer, _norm(layer.out_channels, affine), nn.ReLU(inplace=True)


def encoder(inputs: int, widths: Sequence[int], blocks: int, *, affine: bool = False) -> nn.Sequential:
    """[B, inputs, H, W] -> [B, widths[-1], H / 2^n, W / 2^n]: a 7x7 convolution, n = len(widths) - 1 halvings, then residual blocks."""
    return nn.Sequential(
        *norm_and_relu(conv7x7(inputs, widths[0]), affine=affine),
        *(layer for a, b in zip(widths, widths[1:], strict=False) for layer in norm_and_relu(downsampling(a, b), affine=affine)),
        *(ResidualBlock(widths[-1], affine=affine) for _ in range(blocks)),
    )


def decoder(widths: Sequence[int], blocks: int, *, affine: bool = False) -> nn.Sequential:
    """[B, widths[-1], h, w] -> [B, widths[0], h 2^n, w 2^n]: residual blocks, then n = len(widths) - 1 doublings."""
    pairs = list(zip(widths, widths[1:], strict=False))
    return nn.Sequential(
        *(ResidualBlock(widths[-1], affine=affine) for _ in range(blocks)),
        *(layer for a, b in reversed(pairs) for layer in norm_and_relu(upsampling(b, a), affine=affine)),
    )


def initialise(module: nn.Module) -> None:
    """Initialises a convolution or norm; for `nn.Module.apply`."""
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.normal_(module.weight, 0.0, 0.02)
        assert module.bias is not None
        nn.init.zeros_(module.bias)
    elif isinstance(module, AffineInstanceNorm):
        nn.init.normal_(module.weight, 1.0, 0.02)


def half_size(image: Tensor) -> Tensor:
    """[B, C, H, W] -> [B, C, H / 2, W / 2]: means of 3x3 pixels, without those outside the image."""
    return F.avg_pool2d(image, 3, 2, 1, count_include_pad=False)


def _norm(channels: int, affine: bool) -> nn.Module:
    return AffineInstanceNorm(channels) if affine else InstanceNorm()
