"""The perceptual distances by name: a feature network, its weights from the registry, the distance of two pictures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stages.networks import squeezenet, vgg
from weights import registry

Name = Literal["squeezenet", "vgg19", "none"]


def choose(name: str) -> Name:
    """auto -> squeezenet where its weights can be had here, else none; another name as it is."""
    if name == "auto":
        return "squeezenet" if registry.available(squeezenet.WEIGHTS) else "none"
    return "squeezenet" if name == "squeezenet" else "vgg19" if name == "vgg19" else "none"


def open_distance(name: str, device: torch.device, scales: int = 1) -> PerceptualDistance | None:
    """The distance of that name (see `choose`) at so many scales, each half the one before.

    Raises MissingRequirement when it is asked for by name and its weights are missing.
    """
    chosen = choose(name)
    if chosen == "none":
        return None
    if chosen == "vgg19":
        state = torch.load(registry.path(vgg.WEIGHTS), map_location="cpu", weights_only=True)
        return PerceptualDistance(vgg.vgg19(state), vgg.weighted_l1, scales).to(device)
    from safetensors.torch import load_file

    features = squeezenet.squeezenet(load_file(registry.path(squeezenet.WEIGHTS)))
    return PerceptualDistance(features, squeezenet.unit_distance, scales).to(device)


class PerceptualDistance(nn.Module):
    """Distance of pictures [B, 3, H, W] in [-1, 1] by the features of a fixed network, averaged over the picture and its halves."""

    def __init__(self, features: nn.Module, distance: Callable[[list[Tensor], list[Tensor]], Tensor], scales: int = 1) -> None:
        super().__init__()
        self.features, self.distance, self.scales = features, distance, scales

    def forward(self, ours: Tensor, theirs: Tensor) -> Tensor:
        total = torch.zeros(len(ours), device=ours.device)
        for _ in range(self.scales):
            with torch.no_grad():
                truth = self.features(theirs)
            total = total + self.distance(self.features(ours), truth)
            ours, theirs = F.avg_pool2d(ours, 2), F.avg_pool2d(theirs, 2)
        return total / self.scales
