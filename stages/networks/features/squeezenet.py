"""SqueezeNet (Iandola et al. 2016) as a fixed feature extractor, for the perceptual loss and the perceptual metric.

The weights of version 1.0 are those of the authors for ImageNet: in the file they are float16 with torchvision's parameter names, and they
were trained on BGR in 0..255 minus a mean per channel. The weights of version 1.1 are those that torchvision publishes. Both networks take
RGB images in [-1, 1] and convert them. The metric always uses version 1.0, because distances of the two versions cannot be compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stages.networks.features.feature_network import FeatureNetwork

Network = TypeVar("Network", bound=nn.Module)

WEIGHTS = "squeezenet1_0_imagenet.safetensors"
"""Name of a file in the weights registry; `squeezenet` takes its tensors."""

WEIGHTS_11 = "squeezenet1_1-b8a52dc0.pth"
"""As `WEIGHTS`, for `squeezenet11`."""

TAPS = (1, 4, 5, 8, 10, 12)
"""Layers whose outputs are the features: conv1 (stride 2), fire3 and fire4 (4), fire6 and fire8 (8), fire9 (16)."""

TAPS_11 = (1, 4, 7, 9, 10, 11, 12)
"""As `TAPS`, for SqueezeNet 1.1: conv1 (stride 2), fire3 (4), fire5 (8), fire6 to fire9 (16)."""

MEAN_BGR = (104.0, 117.0, 123.0)
SMALLEST_SIDE = 32


class Fire(nn.Module):
    """A 1x1 convolution to a few channels, then 1x1 and 3x3 convolutions of these in parallel, whose outputs are concatenated."""

    def __init__(self, channels: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, squeezed, 1)
        self.expand1x1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand3x3 = nn.Conv2d(squeezed, expanded, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.squeeze(x))
        return F.relu(torch.cat((self.expand1x1(x), self.expand3x3(x)), 1))


class SqueezeNet(FeatureNetwork):
    """SqueezeNet 1.0: one feature map for each entry of `TAPS`. Each side of an image needs at least 32 pixels."""

    mean_bgr: Tensor

    def __init__(self) -> None:
        layers = [
            nn.Conv2d(3, 96, 7, stride=2), nn.ReLU(), _pool(),
            Fire(96, 16, 64), Fire(128, 16, 64), Fire(128, 32, 128), _pool(),
            Fire(256, 32, 128), Fire(256, 48, 192), Fire(384, 48, 192), Fire(384, 64, 256), _pool(),
            Fire(512, 64, 256),
        ]  # fmt: skip
        super().__init__(layers, TAPS, SMALLEST_SIDE)
        self.register_buffer("mean_bgr", torch.tensor(MEAN_BGR).view(1, 3, 1, 1), persistent=False)

    def normalise(self, image: Tensor) -> Tensor:
        return (image.float().flip(1) + 1) * 127.5 - self.mean_bgr


class SqueezeNet11(FeatureNetwork):
    """SqueezeNet 1.1, twice as fast as 1.0: one feature map for each entry of `TAPS_11`, the seven maps that LPIPS uses."""

    def __init__(self) -> None:
        layers = [
            nn.Conv2d(3, 64, 3, stride=2), nn.ReLU(), _pool(),
            Fire(64, 16, 64), Fire(128, 16, 64), _pool(),
            Fire(128, 32, 128), Fire(256, 32, 128), _pool(),
            Fire(256, 48, 192), Fire(384, 48, 192), Fire(384, 64, 256), Fire(512, 64, 256),
        ]  # fmt: skip
        super().__init__(layers, TAPS_11, SMALLEST_SIDE)


def _pool() -> nn.MaxPool2d:
    return nn.MaxPool2d(3, stride=2, ceil_mode=True)


def squeezenet(state: Mapping[str, Tensor]) -> SqueezeNet:
    """The frozen network with the tensors of the file `WEIGHTS`. They may be float16; those of a classifier are ignored.

    Raises RuntimeError, which names the tensors, when `state` belongs to another network.
    """
    return _load(SqueezeNet(), state)


def squeezenet11(state: Mapping[str, Tensor]) -> SqueezeNet11:
    """As `squeezenet`, for the file `WEIGHTS_11`."""
    return _load(SqueezeNet11(), state)


def _load(model: Network, state: Mapping[str, Tensor]) -> Network:
    model.load_state_dict({name: value.float() for name, value in state.items() if not name.startswith("classifier.")})
    return model


def unit_distance(features: Tensor, others: Tensor) -> Tensor:
    """Feature maps [B, C, h, w] of one layer (one B may be 1) -> distances [B]: LPIPS (Zhang et al. 2018, eq. 1) with weights 1.

    At each position the channels are scaled to unit length. Squared differences are summed over channels and averaged over positions.
    Features after a ReLU are not negative, so that the distance is at most 2.
    """
    return squared_distance(unit_features([features]), unit_features([others]))


def squared_distance(maps: Sequence[Tensor], others: Sequence[Tensor]) -> Tensor:
    """The sum of `unit_distance` over the layers, for feature maps that already have unit length."""
    return torch.stack([(a - b).square().sum(1).mean((1, 2)) for a, b in zip(maps, others, strict=True)]).sum(0)


def unit_features(maps: Sequence[Tensor]) -> list[Tensor]:
    """Feature maps [B, C, h, w] with unit length over the channels. With gradients this takes half the time of `F.normalize`."""
    return [x * (x.square().sum(1, keepdim=True) + 1e-12).rsqrt() for x in (features.float() for features in maps)]
