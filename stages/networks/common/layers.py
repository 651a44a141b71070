"""Building blocks of all generators: convolution, upsampling, instance norm, encoder, U-Net."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

SLOPE = 0.2
"""Negative slope of leaky ReLU."""


def activate(x: Tensor) -> Tensor:
    return F.leaky_relu(x, SLOPE)


def conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, *, spectral: bool = False) -> nn.Module:
    return initialise_conv(nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2), spectral)


def up_conv(inputs: int, outputs: int, *, spectral: bool = False) -> nn.Module:
    return initialise_conv(UpConv(inputs, outputs), spectral)


def initialise_conv(layer: nn.Conv2d, spectral: bool) -> nn.Module:
    """The layer with Kaiming initialisation and, if asked, spectral normalisation."""
    nn.init.kaiming_normal_(layer.weight, a=SLOPE)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return spectral_norm(layer) if spectral else layer


def upsample(x: Tensor) -> Tensor:
    """[B, C, H, W] -> [B, C, 2H, 2W] by repetition."""
    return F.interpolate(x, scale_factor=2, mode="nearest")


class UpConv(nn.Conv2d):
    """A 3x3 convolution of an image that is first upsampled by 2 (nearest neighbour), concatenated with `skip` if given.

    `fold` turns it into a transposed convolution with the same result: 16 products per pixel of the small image instead of 36.
    """

    folded: Tensor | None

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 3, 1, 1)
        self.register_buffer("folded", None, persistent=False)

    def forward(self, x: Tensor, skip: Tensor | None = None) -> Tensor:
        """x [B, C, H, W], skip [B, D, 2H, 2W] -> [B, outputs, 2H, 2W]; the layer has C + D inputs."""
        if self.folded is None:
            return super().forward(upsample(x) if skip is None else torch.cat([upsample(x), skip], 1))
        y = F.conv_transpose2d(x, self.folded, self.bias, stride=2, padding=1)
        return y if skip is None else y + F.conv2d(skip, self.weight[:, x.shape[1] :], padding=1)

    @torch.no_grad()
    def fold(self, inputs: int | None = None) -> None:
        """Compute with a transposed convolution from now on. The weights must not change afterwards. A second call does nothing.

        inputs: number of channels that are upsampled; the others belong to `skip`. None: all.
        """
        if self.folded is not None:
            return
        weight = self.weight[:, :inputs]
        padded = F.pad(weight.flip(2, 3), (1, 1, 1, 1))
        pairs = padded[..., 1:] + padded[..., :-1]
        self.folded = (pairs[..., 1:, :] + pairs[..., :-1, :]).transpose(0, 1).contiguous()


class InstanceNorm(nn.Module):
    """Instance normalisation: each channel of each sample to mean 0 and variance 1."""

    def forward(self, x: Tensor) -> Tensor:
        """For one sample, batch norm is the same, and it preserves the memory format channels-last."""
        return F.batch_norm(x, None, None, training=True) if len(x) == 1 else F.instance_norm(x)


def initialise_small(layer: nn.Module) -> nn.Module:
    """The layer with its weight scaled by 0.1, so that a modulation starts near the identity and an output near 0."""
    assert isinstance(layer.weight, Tensor)
    with torch.no_grad():
        layer.weight.mul_(0.1)
    return layer


class Encoder(nn.Module):
    """A convolution, then stride-2 convolutions: [B, C, H, W] -> features of each level, finest first."""

    def __init__(self, inputs: int, channels: tuple[int, ...], *, spectral: bool = False) -> None:
        super().__init__()
        self.first = conv(inputs, channels[0], spectral=spectral)
        self.down = nn.ModuleList(conv(a, b, stride=2, spectral=spectral) for a, b in zip(channels, channels[1:], strict=False))

    def forward(self, x: Tensor) -> list[Tensor]:
        levels = [activate(self.first(x))]
        for layer in self.down:
            levels.append(activate(layer(levels[-1])))
        return levels


class UNet(nn.Module):
    """A U-Net: [B, C, H, W] -> features of each level, finest first. Those of all levels but the coarsest come from the decoder."""

    def __init__(self, inputs: int, channels: tuple[int, ...], *, spectral: bool = False) -> None:
        super().__init__()
        self.encoder = Encoder(inputs, channels, spectral=spectral)
        last = len(channels) - 2
        self.up = nn.ModuleList(
            up_conv(b if level == last else 2 * b, a, spectral=spectral)
            for level, (a, b) in enumerate(zip(channels, channels[1:], strict=False))
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        levels: list[Tensor] = self.encoder(x)
        x = levels[-1]
        for level in reversed(range(len(self.up))):
            x = activate(self.up[level](x))
            levels[level], x = x, torch.cat([x, levels[level]], 1)
        return levels
