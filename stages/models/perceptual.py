"""The perceptual distances by name: a feature network, its weights from the registry, the distance of two images."""

from __future__ import annotations

from collections.abc import Callable

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from stages.errors import MissingRequirement
from stages.networks.features import squeezenet, vgg
from weights import registry

NAMES = ("squeezenet", "squeezenet-1.1", "vgg19", "none")
Distance = Callable[[list[Tensor], list[Tensor]], Tensor]


def choose(name: str) -> str:
    """auto -> squeezenet where its weights are, else squeezenet-1.1 where its weights are or can be fetched, else none."""
    if name != "auto":
        return name
    if registry.available(squeezenet.WEIGHTS):
        return "squeezenet"
    try:
        registry.path(squeezenet.WEIGHTS_11)
    except MissingRequirement:
        return "none"
    return "squeezenet-1.1"


def open_distance(name: str, device: torch.device, scales: int = 1) -> PerceptualDistance | None:
    """The distance of that name (see `choose`) at so many scales, each half the one before.

    Raises MissingRequirement when it is asked for by name and its weights are missing.
    """
    chosen = choose(name)
    if chosen == "none":
        return None
    distance: Distance = squeezenet.unit_distance
    if chosen == "squeezenet":
        features: nn.Module = squeezenet.squeezenet(load_file(registry.path(squeezenet.WEIGHTS)))
    elif chosen == "squeezenet-1.1":
        features = squeezenet.squeezenet11(_read(squeezenet.WEIGHTS_11))
    else:
        features, distance = vgg.vgg19(_read(vgg.WEIGHTS)), vgg.weighted_l1
    network = PerceptualDistance(features, distance, scales)
    return network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def _read(name: str) -> dict[str, Tensor]:
    state: dict[str, Tensor] = torch.load(registry.path(name), map_location="cpu", weights_only=True)
    return state


class PerceptualDistance(nn.Module):
    """Distance of images [B, 3, H, W] in [-1, 1] by the features of a fixed network, averaged over the image and its halves."""

    def __init__(self, features: nn.Module, distance: Distance, scales: int = 1) -> None:
        super().__init__()
        self.features, self.distance, self.scales = features, distance, scales

    def forward(self, ours: Tensor, theirs: Tensor) -> Tensor:
        total = torch.zeros(len(ours), device=ours.device)
        ours, theirs = (x.contiguous(memory_format=torch.channels_last) for x in (ours, theirs))
        for _ in range(self.scales):
            with torch.no_grad():
                truth = self.features(theirs)
            total = total + self.distance(self.features(ours), truth)
            ours, theirs = F.avg_pool2d(ours, 2), F.avg_pool2d(theirs, 2)
        return total / self.scales
