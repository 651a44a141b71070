"""Building blocks: convolution, SPADE with learned or generated weights, residual block, encoder, label embedding, U-Net."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

SLOPE = 0.2


def activate(x: Tensor) -> Tensor:
    return F.leaky_relu(x, SLOPE)


def conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, *, spectral: bool = False) -> nn.Module:
    return _initialised(nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2), spectral)


def up_conv(inputs: int, outputs: int, *, spectral: bool = False) -> nn.Module:
    return _initialised(UpConv(inputs, outputs), spectral)


def _initialised(layer: nn.Conv2d, spectral: bool) -> nn.Module:
    nn.init.kaiming_normal_(layer.weight, a=SLOPE)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return spectral_norm(layer) if spectral else layer


def upsample(x: Tensor) -> Tensor:
    """[B, C, H, W] -> [B, C, 2H, 2W] by repetition."""
    return F.interpolate(x, scale_factor=2, mode="nearest")


class UpConv(nn.Conv2d):
    """A 3x3 convolution of a picture that was doubled by repetition, and of `skip` beside it.

    `fold` turns it into a transposed convolution of the small picture: 16 products per pixel instead of 36, the same result.
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
        """From now on compute the fast way; `inputs` of the channels are doubled, all without a skip. The weights must not change after."""
        weight = self.weight[:, :inputs]
        spread = F.conv2d(F.pad(weight.flip(2, 3), (1, 1, 1, 1)).flatten(0, 1)[:, None], weight.new_ones(1, 1, 2, 2))
        self.folded = spread[:, 0].unflatten(0, weight.shape[:2]).transpose(0, 1).contiguous()


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
    return flat.unflatten(2, x.shape[2:])


class Modulation(nn.Conv2d):
    """Learned gamma and beta: a 1x1 convolution that starts near zero, so that a modulation begins as the identity.

    They are computed apart, here and in `Spade`: as halves of one map neither lies densely in memory, and using them takes ten times
    as long.
    """

    def __init__(self, inputs: int, features: int) -> None:
        super().__init__(inputs, 2 * features, 1)
        initialise_small(_initialised(self, False))

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


class InstanceNorm(nn.Module):
    """Each channel of each sample to mean 0 and variance 1.

    The statistics of a batch of one are the sample's own, and `batch_norm` alone keeps the channels last.
    """

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(x, None, None, training=True) if len(x) == 1 else F.instance_norm(x)


def _denormalise(x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    return torch.addcmul(x + beta, x, gamma)  # eq. 10, with 1 + gamma as SPADE has it


def initialise_small(layer: nn.Module) -> nn.Module:
    """The layer, started near zero: a modulation then begins as the identity, a head in the middle of its range."""
    assert isinstance(layer.weight, Tensor)
    with torch.no_grad():
        layer.weight.mul_(0.1)
    return layer


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
        return (x + y) * 0.5**0.5  # keeps the variance over the blocks


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


class UNet(nn.Module):
    """Encoder and decoder with the encoder's features beside the decoder's: [B, C, H, W] -> features of each level, finest first."""

    def __init__(self, inputs: int, channels: tuple[int, ...], *, spectral: bool = False) -> None:
        super().__init__()
        self.encoder = Encoder(inputs, channels, spectral=spectral)
        last = len(channels) - 2
        self.up = nn.ModuleList(
            up_conv(b if level == last else 2 * b, a, spectral=spectral)
            for level, (a, b) in enumerate(zip(channels, channels[1:], strict=False))
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        levels = self.encoder(x)
        x = levels[-1]
        for level in reversed(range(len(self.up))):
            x = activate(self.up[level](x))
            levels[level], x = x, torch.cat([x, levels[level]], 1)
        return levels
