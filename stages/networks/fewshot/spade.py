"""SPADE layers with learned or generated weights (eq. 8 to 10), residual blocks of SPADE layers, and the label embedding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stages.networks.common.layers import InstanceNorm, activate, conv, initialise_conv, initialise_small, up_conv, upsample


@dataclass(frozen=True)
class ModulationWeights:
    """Generated weights of one SPADE layer: three 1x1 convolutions (section 3, theta_S, theta_gamma and theta_beta).

    shared: [B, hidden, label + 1], or None without theta_S. modulation: [B, 2 C, hidden + 1], or [B, 2 C, label + 1] without theta_S. The
    last column of each is the bias.
    """

    shared: Tensor | None
    modulation: Tensor


@dataclass(frozen=True)
class LevelWeights:
    """All generated weights of one level: those of its SPADE layers, and those of the label embedding, or None.

    embedding: [B, L, L' + 1] for L label channels at this level and L' at the next coarser one; the last column is the bias.
    """

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
    """A learned 1x1 convolution from `inputs` channels to gamma and beta of `features` channels each.

    Its weights start near zero, so that the modulation starts near the identity.

    gamma and beta are computed separately, also in `Spade`, because halves of one tensor are not contiguous, and using them would take ten
    times as long.
    """

    def __init__(self, inputs: int, features: int) -> None:
        super().__init__(inputs, 2 * features, 1)
        initialise_small(initialise_conv(self, False))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """x [B, C, H, W] -> gamma and beta, [B, features, H, W] each."""
        assert self.bias is not None
        gamma, beta = (F.conv2d(x, weight, bias) for weight, bias in zip(self.weight.chunk(2), self.bias.chunk(2), strict=True))
        return gamma, beta


class Spade(nn.Module):
    """Normalises features, then modulates them by the label embedding (eq. 8 to 10) and by each guide in turn (multi-SPADE).

    A guide is a map of features of a warped image, the example or the previous frame.

    features: C, the channels that are normalised and modulated.
    label: L, the channels of the label embedding at this level.
    hidden: output channels of theta_S, the layer between the label embedding and gamma and beta; 0: there is none.
    guidance: G, the channels of each guide. guides: the number of guides; 0: there is no guidance, and G is not used.
    adaptive: whether theta_S, theta_gamma and theta_beta are generated and passed to `forward`, or learned here.
    norm: the normalisation, without learned scale and shift.
    """

    def __init__(
        self, features: int, label: int, hidden: int, guidance: int, guides: int, *, adaptive: bool, norm: Literal["instance", "batch"]
    ) -> None:
        super().__init__()
        self.norm = InstanceNorm() if norm == "instance" else nn.BatchNorm2d(features, affine=False)
        self.shared = conv(label, hidden, 1) if hidden and not adaptive else None
        self.modulation = None if adaptive else Modulation(hidden or label, features)
        self.guidance = nn.ModuleList(Modulation(guidance, features) for _ in range(guides))

    def forward(self, x: Tensor, label: Tensor, guidance: list[Tensor | None], weights: ModulationWeights | None) -> Tensor:
        """x [B, C, H, W] -> the same shape. label: [B, L, H, W]. guidance: [B, G, H, W] for each guide, or None for a missing guide.

        weights: the generated weights if the layer is adaptive, else None.
        """
        x = self.norm(x)
        if weights is None:
            assert self.modulation is not None
            gamma, beta = self.modulation(label if self.shared is None else activate(self.shared(label)))
        else:
            embedded = label if weights.shared is None else activate(pointwise(label, weights.shared))  # eq. 8
            gamma, beta = (pointwise(embedded, half) for half in weights.modulation.chunk(2, 1))  # eq. 9
        x = _modulate(x, gamma, beta)
        for layer, guide in zip(self.guidance, guidance, strict=True):
            if guide is not None:
                x = _modulate(x, *layer(guide))
        return x


def _modulate(x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    return torch.addcmul(x + beta, x, gamma)  # eq. 10, but with 1 + gamma, as in SPADE


@dataclass(frozen=True)
class Style:
    """The scale and shift of AdaIN for each layer of a block, [B, C] each (baseline AdaIN of table 1)."""

    layers: tuple[tuple[Tensor, Tensor], ...]


class SpadeBlock(nn.Module):
    """Residual block of the main branch: two SPADE layers with convolutions, and a shortcut with a 1x1 convolution.

    With `spade_shortcut` the shortcut also has a SPADE layer, or is the identity if the number of channels stays the same.

    inputs, outputs: the number of channels before and after the block.
    label, hidden, guidance, guides, adaptive, norm: as in `Spade`, the same for all its layers.
    spectral: whether the convolutions have spectral normalisation.
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
        identity = spade_shortcut and inputs == outputs
        self.shortcut = None if identity else conv(inputs, outputs, 1, spectral=spectral)
        self.shortcut_norm = (
            Spade(inputs, label, hidden, guidance, guides, adaptive=adaptive, norm=norm) if spade_shortcut and not identity else None
        )

    def forward(
        self, x: Tensor, label: Tensor, guidance: list[Tensor | None], weights: LevelWeights | None, style: Style | None = None
    ) -> Tensor:
        """x [B, inputs, H, W] -> [B, outputs, H, W]. label, guidance: as in `Spade`. style: None, except for the baseline AdaIN."""
        layers: Sequence[ModulationWeights | None] = (None, None, None) if weights is None else weights.layers
        y = self.conv_first(activate(_apply_style(self.first(x, label, guidance, layers[0]), style, 0)))
        y = self.conv_second(activate(_apply_style(self.second(y, label, guidance, layers[1]), style, 1)))
        if self.shortcut_norm is not None:
            x = self.shortcut_norm(x, label, guidance, layers[2])
        if self.shortcut is not None:
            x = self.shortcut(x)
        result: Tensor = (x + y) * 0.5**0.5  # keeps the variance constant from block to block
        return result


def _apply_style(x: Tensor, style: Style | None, layer: int) -> Tensor:
    """AdaIN (Huang and Belongie 2017) after a SPADE layer; without a style, x."""
    if style is None:
        return x
    scale, shift = style.layers[layer]
    return F.instance_norm(x) * (1 + scale[..., None, None]) + shift[..., None, None]


class LabelEmbedder(nn.Module):
    """A small U-Net from the semantic image to features at every level, p_S of eq. 8.

    semantic: S, the channels of the semantic image, in the baseline ConcatStyle with those of the style.
    channels: those of each level l, finest first; level l is 2^l times smaller.
    generated: at this number of levels, the finest ones, the layers of the decoder are 1x1 and have generated weights.
    spectral: whether the learned convolutions have spectral normalisation.
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
        """[B, S, H, W] -> [B, channels[l], H / 2^l, W / 2^l] for each level l, finest first. weights: those of each level, finest first."""
        levels = [activate(self.first(semantic))]
        for layer in self.down:
            levels.append(activate(layer(levels[-1])))
        for level in reversed(range(len(self.up))):
            embedding = weights[level].embedding if level < len(weights) else None
            coarser = levels[level + 1]
            up = self.up[level](coarser) if embedding is None else upsample(pointwise(coarser, embedding))  # 1x1 before upsampling: cheaper
            levels[level] = levels[level] + activate(up)
        return levels
