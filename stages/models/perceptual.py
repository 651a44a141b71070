"""The perceptual distances by name. Each is a feature network with weights from the registry, and a distance between lists of features."""

from __future__ import annotations

from collections.abc import Callable

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from stages.errors import MissingRequirement
from stages.networks.features import squeezenet, vgg
from weights import registry

Distance = Callable[[list[Tensor], list[Tensor]], Tensor]
"""The features of two batches of images, each a list of maps [B, C, H, W] -> their distances [B]."""


def choose_distance(name: str) -> str:
    """Resolve "auto": squeezenet if its weights are available, else squeezenet-1.1, whose weights are fetched, else none."""
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
    """The distance of this name (see `choose_distance`), None for "none". scales: number of image sizes, each half the previous one.

    Raises MissingRequirement when a distance is named whose weights are missing.
    """
    chosen = choose_distance(name)
    if chosen == "none":
        return None
    distance: Distance = squeezenet.unit_distance
    if chosen == "squeezenet":
        features: nn.Module = squeezenet.squeezenet(load_file(registry.path(squeezenet.WEIGHTS)))
    elif chosen == "squeezenet-1.1":
        features = squeezenet.squeezenet11(_load_weights(squeezenet.WEIGHTS_11))
    else:
        features, distance = vgg.vgg19(_load_weights(vgg.WEIGHTS)), vgg.weighted_l1
    network = PerceptualDistance(features, distance, scales)
    return network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def _load_weights(name: str) -> dict[str, Tensor]:
    state: dict[str, Tensor] = torch.load(registry.path(name), map_location="cpu", weights_only=True)
    return state


class PerceptualDistance(nn.Module):
    """Distance [B] of images [B, 3, H, W] in [-1, 1] by the features of a fixed network, averaged over `scales` image sizes."""

    def __init__(self, features: nn.Module, distance: Distance, scales: int = 1) -> None:
        super().__init__()
        self.features, self.distance, self.scales = features, distance, scales

    def forward(self, images: Tensor, targets: Tensor) -> Tensor:
        total = torch.zeros(len(images), device=images.device)
        images, targets = (batch.contiguous(memory_format=torch.channels_last) for batch in (images, targets))
        for _ in range(self.scales):
            with torch.no_grad():
                target_features = self.features(targets)
            total = total + self.distance(self.features(images), target_features)
            images, targets = F.avg_pool2d(images, 2), F.avg_pool2d(targets, 2)
        return total / self.scales
