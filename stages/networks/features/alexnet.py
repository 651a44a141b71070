"""LPIPS (Zhang et al. 2018), version 0.1, with AlexNet (Krizhevsky 2014): a distance between images that was fitted to human
judgements.

torchvision publishes the weights of AlexNet; the authors of LPIPS publish the weight of each of its channels.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from stages.networks.features.feature_network import FeatureNetwork

WEIGHTS = "alexnet-owt-7be5be79.pth"
LINEAR_WEIGHTS = "lpips-v0.1-alex.pth"
"""Names of two files in the weights registry; `lpips` takes their tensors."""

TAPS = (1, 4, 7, 9, 11)
"""Layers whose outputs are the features: the five ReLUs."""
CHANNELS = (64, 192, 384, 256, 256)
SMALLEST_SIDE = 32


class Lpips(FeatureNetwork):
    """Two batches of images [B, 3, H, W], RGB in [-1, 1], each side at least 32 pixels -> distances [B]. One batch may have B = 1."""

    def __init__(self) -> None:
        layers = [
            nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
            nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
            nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(),
            nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(),
            nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(),
        ]  # fmt: skip
        super().__init__(layers, TAPS, SMALLEST_SIDE)
        self.linear = nn.ParameterList(torch.zeros(1, channels, 1, 1) for channels in CHANNELS).requires_grad_(False)

    def forward(self, images: Tensor, references: Tensor) -> Tensor:  # type: ignore[override]
        layers = zip(self.maps(images), self.maps(references), self.linear, strict=True)
        return torch.stack([((_unit(a) - _unit(b)).square() * weight).sum(1).mean((1, 2)) for a, b, weight in layers]).sum(0)  # eq. 1


def _unit(features: Tensor) -> Tensor:
    """Features [B, C, h, w] with unit length over the channels."""
    return features / (features.square().sum(1, keepdim=True).sqrt() + 1e-10)


def lpips(network: Mapping[str, Tensor], linear: Mapping[str, Tensor]) -> Lpips:
    """The frozen network with the tensors of the files `WEIGHTS`, without those of its classifier, and `LINEAR_WEIGHTS`.

    Raises RuntimeError, which names the tensors, when they belong to another network.
    """
    model = Lpips()
    state = {name: value for name, value in network.items() if not name.startswith("classifier.")}
    model.load_state_dict(state | {_parameter_name(name): value for name, value in linear.items()})
    return model


def _parameter_name(name: str) -> str:
    """Name of a tensor in `LINEAR_WEIGHTS` -> name in `Lpips`: lin2.model.1.weight -> linear.2."""
    part = name.split(".")[0]
    return f"linear.{part[3:]}" if name == f"{part}.model.1.weight" and part.startswith("lin") else name
