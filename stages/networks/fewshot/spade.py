"""SPADE with learned or generated weights (eq. 8 to 10), the residual block of it, and the label embedding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stages.networks.common.layers import InstanceNorm, activate, conv, initialise_small, initialised, up_conv, upsample


@dataclass(frozen=True)
class ModulationWeights:
    """Generated weights of one SPADE layer: three 1x1 convolutions (section 3, theta_S, theta_gamma and theta_beta).

    shared [B, hidden, label + 1] or None, modulation [B, 2 C, hidden + 1]; the last column of each is the bias.
    """

    shared: Tensor | None
    modulation: Tensor


@dataclass(frozen=True)
class LevelWeights:
    """All generated weights of one level: those of its SPADE layers, and of the label embedding's layer [B, L, L' + 1] where it has one."""

    layers: tuple[ModulationWeights, ...]
    embedding: Tensor | None = None


def pointwise(x: Tensor, weights: Tensor) -> Tensor:
    """A 1x1 convolution with its own weights for each sample: x [B, C, H, W], weights [B, D, C + 1] -> [B, D, H, W]."""
    if len(x) == 1:
        return F.conv2d(x, weights[0, :, :-1, None, None], weights[0, :, -1])
    flat = torch.baddbmm(weights[:, :, -1:], weights[:, :, :-1], x.flatten(2))
    result: Tensor = flat.unflatten(2, x.shape[2:])
    return result


class Modulation(nn.Conv2d):
    """Learned gamma and beta: a 1x1 convolution that starts near zero, so that a modulation begins as the identity.

    They are computed apart, here and in `Spade`: as halves of one map neither lies densely in memory, and using them takes ten times
    as long.
    """

    def __init__(self, inputs: int, features: int) -> None:
        super().__init__(inputs, 2 * features, 1)
        initialise_small(initialised(self, False))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """x [B, C, H, W] -> gamma and beta, [B, features, H, W] each."""
        assert self.bias is not None
        gamma, beta = (F.conv2d(x, weight, bias) for weight, bias in zip(self.weight.chunk(2), self.bias.chunk(2), strict=True))
        return gamma, beta


class Spade(nn.Module):
    """Denormalises features by maps computed from the label embedding (eq. 8 to 10), then by each guidance in turn (multi-SPADE)."""

    def __init__(
        self, features: int, label: int, hidden: int, guidance: int, guides: int, *, adaptive: bool, norm: Literal["instance", "batch"]
    ) -> None:
        super().__init__()
        self.norm = InstanceNorm() if norm == "instance" else nn.BatchNorm2d(features, affine=False)
        self.shared = conv(label, hidden, 1) if hidden and not adaptive else None
        self.modulation = None if adaptive else Modulation(hidden or label, features)
        self.guidance = nn.ModuleList(Modulation(guidance, features) for _ in range(guides))

    def forward(self, x: Tensor, label: Tensor, guidance: list[Tensor | None], weights: ModulationWeights | None) -> Tensor:
        """x [B, C, H, W], label [B, L, H, W], guidance: per guide [B, G, H, W] or None when that guide is absent."""
        x = self.norm(x)
        if weights is None:
            assert self.modulation is not None
            gamma, beta = self.modulation(label if self.shared is None else activate(self.shared(label)))
        else:
            embedded = label if weights.shared is None else activate(pointwise(label, weights.shared))  # eq. 8
            gamma, beta = (pointwise(embedded, half) for half in weights.modulation.chunk(2, 1))  # eq. 9
        x = _denormalise(x, gamma, beta)
        for layer, guide in zip(self.guidance, guidance, strict=True):
            if guide is not None:
                x = _denormalise(x, *layer(guide))
        return x


def _denormalise(x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    return torch.addcmul(x + beta, x, gamma)  # eq. 10, with 1 + gamma as SPADE has it


@dataclass(frozen=True)
class Style:
    """AdaIN's scale and shift of each layer of a block, [B, C] each (baseline AdaIN of table 1)."""

    layers: tuple[tuple[Tensor, Tensor], ...]


class SpadeBlock(nn.Module):
    """Residual block of the main branch: two SPADE layers and convolutions, and a 1x1 shortcut.

    With `spade_shortcut` the shortcut has a SPADE layer, too, and is left out where the channels stay the same.
    """

    def __init__(
        self, inputs: int, outputs: int, label: int, hidden: int, guidance: int, guides: int, *, adaptive: bool, spectral: bool,
        norm: Literal["instance", "batch"], spade_shortcut: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        self.first, self.second = (
            Spade(features, label, hidden, guidance, guides, adaptive=adaptive, norm=norm) for features in (inputs, outputs)
        )
        self.conv_first = conv(inputs, outputs, spectral=spectral)
        self.conv_second = conv(outputs, outputs, spectral=spectral)
        whole = spade_shortcut and inputs == outputs
        self.shortcut = None if whole else conv(inputs, outputs, 1, spectral=spectral)
        self.shortcut_norm = (
            Spade(inputs, label, hidden, guidance, guides, adaptive=adaptive, norm=norm) if spade_shortcut and not whole else None
        )

    def forward(
        self, x: Tensor, label: Tensor, guidance: list[Tensor | None], weights: LevelWeights | None, style: Style | None = None
    ) -> Tensor:
        layers: Sequence[ModulationWeights | None] = (None, None, None) if weights is None else weights.layers
        y = self.conv_first(activate(_styled(self.first(x, label, guidance, layers[0]), style, 0)))
        y = self.conv_second(activate(_styled(self.second(y, label, guidance, layers[1]), style, 1)))
        if self.shortcut_norm is not None:
            x = self.shortcut_norm(x, label, guidance, layers[2])
        if self.shortcut is not None:
            x = self.shortcut(x)
        result: Tensor = (x + y) * 0.5**0.5  # keeps the variance over the blocks
        return result


def _styled(x: Tensor, style: Style | None, layer: int) -> Tensor:
    """AdaIN (Huang and Belongie 2017) after a SPADE layer."""
    if style is None:
        return x
    scale, shift = style.layers[layer]
    return F.instance_norm(x) * (1 + scale[..., None, None]) + shift[..., None, None]


class LabelEmbedder(nn.Module):
    """The semantic image as features at every level: a small U-Net whose decoder outputs are p_S of eq. 8.

    At the levels below `generated` the decoder's layers are 1x1 with generated weights.
    """

    def __init__(self, semantic: int, channels: tuple[int, ...], *, generated: int = 0, spectral: bool = False) -> None:
        super().__init__()
        self.first = conv(semantic, channels[0], spectral=spectral)
        pairs = list(zip(channels, channels[1:], strict=False))
        self.down = nn.ModuleList(conv(a, b, stride=2, spectral=spectral) for a, b in pairs)
        self.up = nn.ModuleList(
            nn.Identity() if level < generated else up_conv(b, a, spectral=spectral) for level, (a, b) in enumerate(pairs)
        )

    def forward(self, semantic: Tensor, weights: Sequence[LevelWeights] = ()) -> list[Tensor]:
        """[B, S, H, W] -> [B, channels[l], H / 2^l, W / 2^l] for each level l, finest first."""
        levels = [activate(self.first(semantic))]
        for layer in self.down:
            levels.append(activate(layer(levels[-1])))
        for level in reversed(range(len(self.up))):
            own = weights[level].embedding if level < len(weights) else None
            below = levels[level + 1]
            up = self.up[level](below) if own is None else upsample(pointwise(below, own))  # a 1x1 layer may as well come before
            levels[level] = levels[level] + activate(up)
        return levels
