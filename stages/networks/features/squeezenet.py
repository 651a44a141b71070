"""SqueezeNet (Iandola et al. 2016) as a fixed feature extractor, for the perceptual loss and the perceptual metric.

The weights of 1.0 are the ImageNet ones of the authors: float16 in the file, torchvision's parameter names, trained on BGR 0..255 minus a
mean per channel. Those of 1.1 are torchvision's, which everybody can fetch. The modules take our own images and convert them themselves,
so nobody else has to know these conventions. The metric is always of 1.0: figures of the two cannot be compared.
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
"""Name in the weights registry of the file whose tensors `squeezenet` takes."""

WEIGHTS_11 = "squeezenet1_1-b8a52dc0.pth"
"""The same for `squeezenet11`."""

TAPS = (1, 4, 5, 8, 10, 12)
"""Layers whose outputs are the features: conv1 (stride 2), fire3 and fire4 (4), fire6 and fire8 (8), fire9 (16)."""

TAPS_11 = (1, 4, 7, 9, 10, 11, 12)
"""The same of SqueezeNet 1.1: conv1 (stride 2), fire3 (4), fire5 (8), fire6 to fire9 (16)."""

MEAN_BGR = (104.0, 117.0, 123.0)
SMALLEST_SIDE = 32


class Fire(nn.Module):
    """Squeeze to a few channels, then expand them by 1x1 and 3x3 filters side by side."""

    def __init__(self, channels: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, squeezed, 1)
        self.expand1x1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand3x3 = nn.Conv2d(squeezed, expanded, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.squeeze(x))
        return F.relu(torch.cat((self.expand1x1(x), self.expand3x3(x)), 1))


class SqueezeNet(FeatureNetwork):
    """SqueezeNet 1.0: one feature map per entry of `TAPS`, of images of at least 32 pixels a side."""

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

    def normalised(self, image: Tensor) -> Tensor:
        return (image.float().flip(1) + 1) * 127.5 - self.mean_bgr


class SqueezeNet11(FeatureNetwork):
    """SqueezeNet 1.1, in half the time of 1.0: the seven maps that LPIPS takes of it."""

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
    """The frozen feature network with the tensors of the file `WEIGHTS`, which may be float16 and hold a classifier too.

    Raises RuntimeError, which names the tensors, when `state` belongs to another network.
    """
    return _loaded(SqueezeNet(), state)


def squeezenet11(state: Mapping[str, Tensor]) -> SqueezeNet11:
    """The same of the file `WEIGHTS_11`."""
    return _loaded(SqueezeNet11(), state)


def _loaded(model: Network, state: Mapping[str, Tensor]) -> Network:
    model.load_state_dict({name: value.float() for name, value in state.items() if not name.startswith("classifier.")})
    return model


def unit_distance(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> Tensor:
    """Two lists of feature maps [B, C, h, w] (one B may be 1) -> distance [B]: LPIPS (Zhang et al. 2018, eq. 1) with all weights one.

    At each position the channels are scaled to unit length; squared differences are summed over channels, averaged over positions and
    summed over the layers. Features after a ReLU are never negative, so a layer adds 2 at most.
    """
    return apart(unit_features(ours), unit_features(theirs))


def apart(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> Tensor:
    """`unit_distance` of maps that have been scaled."""
    return torch.stack([(a - b).square().sum(1).mean((1, 2)) for a, b in zip(ours, theirs, strict=True)]).sum(0)


def unit_features(maps: Sequence[Tensor]) -> list[Tensor]:
    """Unit length over the channels; `F.normalize`, whose gradient divides map by map, takes twice as long."""
    return [each * (each.square().sum(1, keepdim=True) + 1e-12).rsqrt() for each in (features.float() for features in maps)]
