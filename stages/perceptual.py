"""The perceptual distances by name: a feature network, its weights from the registry, the distance of two pictures."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stages.networks.squeezenet import WEIGHTS, squeezenet, unit_distance
from weights import registry

Name = Literal["squeezenet", "none"]


def choose(name: str) -> Name:
    """auto -> the feature network whose weights can be had here, or none; another name as it is."""
    if name == "auto":
        return "squeezenet" if registry.available(WEIGHTS) else "none"
    return "squeezenet" if name == "squeezenet" else "none"


def open_distance(name: str, device: torch.device) -> SqueezeNetDistance | None:
    """The distance of that name (see `choose`). Raises MissingRequirement when it is asked for by name and its weights are missing."""
    return SqueezeNetDistance().to(device) if choose(name) == "squeezenet" else None


class SqueezeNetDistance(nn.Module):
    """Distance of pictures [B, 3, H, W] in [-1, 1] on ImageNet SqueezeNet features, averaged over the picture and its halves."""

    def __init__(self, scales: int = 1) -> None:
        super().__init__()
        from safetensors.torch import load_file

        self.features = squeezenet(load_file(registry.path(WEIGHTS)))
        self.scales = scales

    def forward(self, ours: Tensor, theirs: Tensor) -> Tensor:
        total = torch.zeros(len(ours), device=ours.device)
        for _ in range(self.scales):
            with torch.no_grad():
                truth = self.features(theirs)
            total = total + unit_distance(self.features(ours), truth)
            ours, theirs = F.avg_pool2d(ours, 2), F.avg_pool2d(theirs, 2)
        return total / self.scales
