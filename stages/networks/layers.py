"""Building blocks: convolution, SPADE with learned or generated weights, residual block, U-Net."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

SLOPE = 0.2


def activate(x: Tensor) -> Tensor:
    return F.leaky_relu(x, SLOPE)


def conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, *, spectral: bool = False) -> nn.Module:
    layer = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2)
    nn.init.kaiming_normal_(layer.weight, a=SLOPE)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return spectral_norm(layer) if spectral else layer


def double(x: Tensor) -> Tensor:
    """[B, C, H, W] -> [B, C, 2H, 2W] by repetition."""
    return F.interpolate(x, scale_factor=2, mode="nearest")


@dataclass(frozen=True)
class ModulationWeights:
    """Generated weights of one SPADE layer: three 1x1 convolutions (section 3, theta_S, theta_gamma and theta_beta).

    shared [B, hidden, label + 1], modulation [B, 2 C, hidden + 1]; the last column of each is the bias.
    """

    shared: Tensor
    modulation: Tensor


def pointwise(x: Tensor, weights: Tensor) -> Tensor:
    """A 1x1 convolution with its own weights for each sample: x [B, C, H, W], weights [B, D, C + 1] -> [B, D, H, W]."""
    flat = torch.baddbmm(weights[:, :, -1:], weights[:, :, :-1], x.flatten(2))
    return flat.unflatten(2, x.shape[2:])


class Spade(nn.Module):
    """Denormalises features by maps computed from the label embedding (eq. 8 to 10), then by each guidance in turn (multi-SPADE)."""

    def __init__(self, features: int, label: int, hidden: int, guidance: int, guides: int, *, adaptive: bool) -> None:
        super().__init__()
        self.norm = nn.InstanceNorm2d(features)
        self.shared = None if adaptive else conv(label, hidden, 1)
        self.modulation = None if adaptive else quiet(conv(hidden, 2 * features, 1))
        self.guidance = nn.ModuleList(quiet(conv(guidance, 2 * features, 1)) for _ in range(guides))

    def forward(self, x: Tensor, label: Tensor, guidance: list[Tensor | None], weights: ModulationWeights | None) -> Tensor:
        """x [B, C, H, W], label [B, L, H, W], guidance: per guide [B, G, H, W] or None when that guide is absent."""
        x = self.norm(x)
        if weights is None:
            assert self.shared is not None and self.modulation is not None
            gamma_beta = self.modulation(activate(self.shared(label)))
        else:
            embedded = activate(pointwise(label, weights.shared))  # eq. 8
            gamma_beta = pointwise(embedded, weights.modulation)  # eq. 9
        x = _denormalise(x, gamma_beta)
        for layer, guide in zip(self.guidance, guidance, strict=True):
            if guide is not None:
                x = _denormalise(x, layer(guide))
        return x


def _denormalise(x: Tensor, gamma_beta: Tensor) -> Tensor:
    gamma, beta = gamma_beta.chunk(2, 1)
    return torch.addcmul(x + beta, x, gamma)  # eq. 10, with 1 + gamma as SPADE has it


def quiet(layer: nn.Module) -> nn.Module:
    """The layer, started near zero: a modulation then begins as the identity, a head in the middle of its range."""
    assert isinstance(layer.weight, Tensor)
    with torch.no_grad():
        layer.weight.mul_(0.1)
    return layer


class SpadeBlock(nn.Module):
    """Residual block of the main branch: two SPADE layers and convolutions, a 1x1 shortcut."""

    def __init__(
        self, inputs: int, outputs: int, label: int, hidden: int, guidance: int, guides: int, *, adaptive: bool, spectral: bool
    ) -> None:
        super().__init__()
        self.first = Spade(inputs, label, hidden, guidance, guides, adaptive=adaptive)
        self.second = Spade(outputs, label, hidden, guidance, guides, adaptive=adaptive)
        self.conv_first = conv(inputs, outputs, spectral=spectral)
        self.conv_second = conv(outputs, outputs, spectral=spectral)
        self.shortcut = conv(inputs, outputs, 1, spectral=spectral)

    def forward(
        self, x: Tensor, label: Tensor, guidance: list[Tensor | None], weights: tuple[ModulationWeights, ModulationWeights] | None
    ) -> Tensor:
        first, second = weights or (None, None)
        y = self.conv_first(activate(self.first(x, label, guidance, first)))
        y = self.conv_second(activate(self.second(y, label, guidance, second)))
        return (self.shortcut(x) + y) * 0.5**0.5  # keeps the variance over the blocks


class LabelEmbedder(nn.Module):
    """The semantic image as features at every level: a small U-Net whose decoder outputs are p_S^0 of eq. 8."""

    def __init__(self, semantic: int, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.first = conv(semantic, channels[0])
        self.down = nn.ModuleList(conv(a, b, stride=2) for a, b in zip(channels, channels[1:], strict=False))
        self.up = nn.ModuleList(conv(b, a) for a, b in zip(channels, channels[1:], strict=False))

    def forward(self, semantic: Tensor) -> list[Tensor]:
        """[B, S, H, W] -> [B, channels[l], H / 2^l, W / 2^l] for each level l, finest first."""
        levels = [activate(self.first(semantic))]
        for layer in self.down:
            levels.append(activate(layer(levels[-1])))
        for level in reversed(range(len(self.up))):
            levels[level] = levels[level] + activate(self.up[level](double(levels[level + 1])))
        return levels


class Encoder(nn.Module):
    """A ladder of stride-2 convolutions: [B, C, H, W] -> features of each level, finest first."""

    def __init__(self, inputs: int, channels: tuple[int, ...], *, spectral: bool = False) -> None:
        super().__init__()
        self.first = conv(inputs, channels[0], spectral=spectral)
        self.down = nn.ModuleList(conv(a, b, stride=2, spectral=spectral) for a, b in zip(channels, channels[1:], strict=False))

    def forward(self, x: Tensor) -> list[Tensor]:
        levels = [activate(self.first(x))]
        for layer in self.down:
            levels.append(activate(layer(levels[-1])))
        return levels
