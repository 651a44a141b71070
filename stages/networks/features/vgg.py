"""VGG-19 (Simonyan and Zisserman 2015) as a fixed feature extractor: the perceptual loss of vid2vid and few-shot vid2vid."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stages.networks.features.feature_network import FeatureNetwork

WEIGHTS = "vgg19-dcbb9e9d.pth"
"""Name in the weights registry of torchvision's file, whose tensors `vgg19` takes."""

PLAN = (64, 64, 0, 128, 128, 0, 256, 256, 256, 256, 0, 512, 512, 512, 512, 0, 512)
"""Output channels of the 3x3 convolutions up to relu5_1; 0 is a pooling."""
TAPS = (1, 6, 11, 20, 29)
"""Layers whose outputs are the features: relu1_1, relu2_1, relu3_1, relu4_1, relu5_1."""
WEIGHT_OF_TAP = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)


class Vgg19(FeatureNetwork):
    """One feature map per entry of `TAPS`, of images of at least 16 pixels a side."""

    def __init__(self) -> None:
        layers: list[nn.Module] = []
        inputs = 3
        for outputs in PLAN:
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()] if outputs else [nn.MaxPool2d(2)]
            inputs = outputs or inputs
        super().__init__(layers, TAPS, 16)


def vgg19(state: Mapping[str, Tensor]) -> Vgg19:
    """The frozen feature network with the tensors of the file `WEIGHTS`, of which those behind relu5_1 are left out.

    Raises RuntimeError, which names the tensors, when `state` belongs to another network.
    """
    model = Vgg19()
    wanted = model.state_dict()
    model.load_state_dict({name: value.float() for name, value in state.items() if name in wanted or not _behind(name)})
    return model


def _behind(name: str) -> bool:
    part, index, *_ = name.split(".")
    return part == "classifier" or (part == "features" and index.isdecimal() and int(index) > TAPS[-1])


def weighted_l1(ours: list[Tensor], theirs: list[Tensor]) -> Tensor:
    """Two lists of feature maps [B, C, h, w] -> distance [B]: L1 of each layer, the deeper the heavier (vid2vid's public code)."""
    terms = [
        weight * F.l1_loss(a.float(), b.float(), reduction="none").mean((1, 2, 3))
        for weight, a, b in zip(WEIGHT_OF_TAP, ours, theirs, strict=True)
    ]
    return torch.stack(terms).sum(0)
