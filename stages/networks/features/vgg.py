"""VGG-19 (Simonyan and Zisserman 2015) as a fixed feature extractor: the perceptual loss of vid2vid and few-shot vid2vid."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from stages.networks.features.feature_network import FeatureNetwork

WEIGHTS = "vgg19-dcbb9e9d.pth"
"""Name of torchvision's file in the weights registry; `vgg19` takes its tensors."""

PLAN = (64, 64, 0, 128, 128, 0, 256, 256, 256, 256, 0, 512, 512, 512, 512, 0, 512)
"""Output channels of the 3x3 convolutions up to relu5_1; 0 stands for max pooling."""
TAPS = (1, 6, 11, 20, 29)
"""Layers whose outputs are the features: relu1_1, relu2_1, relu3_1, relu4_1, relu5_1."""
TAP_WEIGHTS = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)
"""Weights of these layers in the perceptual loss (public code of vid2vid)."""


class Vgg19(FeatureNetwork):
    """VGG-19: one feature map for each entry of `TAPS`. Each side of an image needs at least 16 pixels."""

    def __init__(self) -> None:
        layers: list[nn.Module] = []
        inputs = 3
        for outputs in PLAN:
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()] if outputs else [nn.MaxPool2d(2)]
            inputs = outputs or inputs
        super().__init__(layers, TAPS, 16)


def vgg19(state: Mapping[str, Tensor]) -> Vgg19:
    """The frozen feature network with the tensors of the file `WEIGHTS`, without those of layers after relu5_1.

    Raises RuntimeError, which names the tensors, when `state` belongs to another network.
    """
    model = Vgg19()
    used = model.state_dict()
    model.load_state_dict({name: value.float() for name, value in state.items() if name in used or not _is_after_last_tap(name)})
    return model


def _is_after_last_tap(name: str) -> bool:
    part, index, *_ = name.split(".")
    return part == "classifier" or (part == "features" and index.isdecimal() and int(index) > TAPS[-1])


def l1_distance(features: Tensor, others: Tensor) -> Tensor:
    """Feature maps [B, C, h, w] of one layer -> distances [B]."""
    return (features - others).abs().mean((1, 2, 3), dtype=torch.float32)
