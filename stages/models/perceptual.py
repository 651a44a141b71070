"""The perceptual distances by name. Each is a feature network with weights from the registry, and a distance between features."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from stages.errors import MissingRequirement
from stages.networks.common.recomputing import Recomputing
from stages.networks.features import squeezenet, vgg
from stages.networks.features.feature_network import FeatureNetwork
from weights import registry

LayerDistance = Callable[[Tensor, Tensor], Tensor]
"""The features [B, C, h, w] of one layer for two batches of images -> their distances [B]."""


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
    """The distance of this name (see `choose_distance`), None for "none". scales: as for `PerceptualDistance`.

    Raises MissingRequirement when a distance is named whose weights are missing.
    """
    chosen = choose_distance(name)
    if chosen == "none":
        return None
    distance: LayerDistance = squeezenet.unit_distance
    weights: Sequence[float] = ()
    if chosen == "squeezenet":
        features: FeatureNetwork = squeezenet.squeezenet(load_file(registry.path(squeezenet.WEIGHTS)))
    elif chosen == "squeezenet-1.1":
        features = squeezenet.squeezenet11(_load_weights(squeezenet.WEIGHTS_11))
    else:
        features, distance, weights = vgg.vgg19(_load_weights(vgg.WEIGHTS)), vgg.l1_distance, vgg.TAP_WEIGHTS
    network = PerceptualDistance(features, distance, weights, scales)
    return network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def _load_weights(name: str) -> dict[str, Tensor]:
    state: dict[str, Tensor] = torch.load(registry.path(name), map_location="cpu", weights_only=True)
    return state


class PerceptualDistance(Recomputing):
    """Distance [B] of images [B, 3, H, W] in [-1, 1] by features of a fixed network: the sum over its layers, averaged over image sizes.

    weights: of the layers; empty: all are 1. scales: number of image sizes, each half the previous one.
    """

    def __init__(self, features: FeatureNetwork, distance: LayerDistance, weights: Sequence[float] = (), scales: int = 1) -> None:
        super().__init__()
        self.features, self.distance, self.scales = features, distance, scales
        self.weights = tuple(weights) or (1.0,) * len(features.taps)

    def forward(self, images: Tensor, targets: Tensor) -> Tensor:
        distance: Tensor = self.run(self._mean_over_scales, images, targets)
        return distance

    def _mean_over_scales(self, images: Tensor, targets: Tensor) -> Tensor:
        total = torch.zeros(len(images), device=images.device)
        images, targets = (batch.contiguous(memory_format=torch.channels_last) for batch in (images, targets))
        for _ in range(self.scales):
            total = total + self._sum_over_layers(images, targets)
            images, targets = F.avg_pool2d(images, 2), F.avg_pool2d(targets, 2)
        return total / self.scales

    def _sum_over_layers(self, images: Tensor, targets: Tensor) -> Tensor:
        self.features.require_size(images)
        x, y, pairs = self.features.normalise(images), self.features.normalise(targets), []
        for part in self.features.parts():
            with torch.no_grad():
                y = part(y)
            x = self.run(part, x)
            pairs.append((x, y))
        terms = [weight * self.run(self.distance, x, y) for weight, (x, y) in zip(self.weights, pairs, strict=True)]
        return torch.stack(terms).sum(0)
