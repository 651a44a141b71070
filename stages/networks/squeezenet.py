"""SqueezeNet 1.0 (Iandola et al. 2016) as a fixed feature extractor, for the perceptual loss and the perceptual metric.

The weights are the ImageNet ones of the authors: float16 in the file, torchvision's parameter names, trained on BGR 0..255 minus a mean
per channel. The module takes our own images and converts them itself, so nobody else has to know that convention.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WEIGHTS = "squeezenet1_0_imagenet.safetensors"
"""Name in the weights registry of the file whose tensors `squeezenet` takes."""

TAPS = (1, 4, 5, 8, 10, 12)
"""Layers whose outputs are the features: conv1 (stride 2), fire3 and fire4 (4), fire6 and fire8 (8), fire9 (16)."""

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


class SqueezeNet(nn.Module):
    """Images [B, 3, H, W], RGB in [-1, 1], at least 32 pixels a side -> one feature map [B, C, h, w] per entry of `TAPS`.

    The parameters are frozen; gradients reach the image. Images may be float32 or autocast.
    """

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 96, 7, stride=2), nn.ReLU(), _pool(),
            Fire(96, 16, 64), Fire(128, 16, 64), Fire(128, 32, 128), _pool(),
            Fire(256, 32, 128), Fire(256, 48, 192), Fire(384, 48, 192), Fire(384, 64, 256), _pool(),
            Fire(512, 64, 256),
        )  # fmt: skip
        self.register_buffer("mean", torch.tensor(MEAN_BGR).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False)
        self.eval()

    def forward(self, image: Tensor) -> list[Tensor]:
        if min(image.shape[-2:]) < SMALLEST_SIDE:
            raise ValueError(f"an image of {tuple(image.shape[-2:])} is too small for features: {SMALLEST_SIDE} pixels a side at least")
        x = (image.float().flip(1) + 1) * 127.5 - self.mean
        maps = []
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in TAPS:
                maps.append(x)
        return maps


def _pool() -> nn.MaxPool2d:
    return nn.MaxPool2d(3, stride=2, ceil_mode=True)


def squeezenet(state: Mapping[str, Tensor]) -> SqueezeNet:
    """The frozen feature network with the tensors of the file `WEIGHTS`, which may be float16 and hold a classifier too.

    Raises RuntimeError, which names the tensors, when `state` belongs to another network.
    """
    model = SqueezeNet()
    model.load_state_dict({name: value.float() for name, value in state.items() if not name.startswith("classifier.")})
    return model


def unit_distance(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> Tensor:
    """Two lists of feature maps [B, C, h, w] (one B may be 1) -> distance [B]: LPIPS (Zhang et al. 2018, eq. 1) with all weights one.

    At each position the channels are scaled to unit length; squared differences are summed over channels, averaged over positions and
    summed over the layers. Features after a ReLU are never negative, so a layer adds 2 at most.
    """
    return torch.stack([(_unit(a) - _unit(b)).square().sum(1).mean((1, 2)) for a, b in zip(ours, theirs, strict=True)]).sum(0)


def _unit(features: Tensor) -> Tensor:
    """Unit length over the channels; `F.normalize`, whose gradient divides map by map, takes twice as long."""
    features = features.float()
    return features * (features.square().sum(1, keepdim=True) + 1e-12).rsqrt()
