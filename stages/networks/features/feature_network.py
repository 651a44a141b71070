"""The base class of fixed feature networks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and standard deviation of red, green and blue in [0, 1] over ImageNet, as in torchvision."""


class FeatureNetwork(nn.Module):
    """Images [B, 3, H, W], RGB in [-1, 1] -> feature maps [B, C, h, w] of the layers with the numbers `taps`. Each ends with a ReLU.

    The parameters are frozen; gradients pass to the image. Images may be float32 or half precision under autocast.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, layers: Sequence[nn.Module], taps: Sequence[int], smallest_side: int) -> None:
        super().__init__()
        self.features = nn.Sequential(*layers)
        self.taps, self.smallest_side = tuple(taps), smallest_side
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(DEVIATION).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False)
        self.eval()

    def normalise(self, image: Tensor) -> Tensor:
        """The image in the range and normalisation that the network was trained with."""
        return ((image.float() + 1) / 2 - self.mean) / self.deviation

    def forward(self, image: Tensor) -> list[Tensor]:
        return self.maps(image)

    def maps(self, image: Tensor) -> list[Tensor]:
        """The feature maps. Raises ValueError for an image with a side smaller than `smallest_side`."""
        self.require_size(image)
        x, maps = self.normalise(image), []
        for part in self.parts():
            x = part(x)
            maps.append(x)
        return maps

    def require_size(self, image: Tensor) -> None:
        """Raises ValueError for an image with a side smaller than `smallest_side`."""
        if min(image.shape[-2:]) < self.smallest_side:
            size = tuple(image.shape[-2:])
            raise ValueError(f"an image of {size} is too small for features: each side needs at least {self.smallest_side} pixels")

    def parts(self) -> list[nn.Module]:
        """The layers, split after each one whose output is a feature map."""
        return [self.features[start + 1 : stop + 1] for start, stop in pairwise((-1, *self.taps))]
