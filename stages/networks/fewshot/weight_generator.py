"""E_P: the MLPs that turn features of the examples into the weights theta_H of a level (eq. 7)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from stages.networks.common.layers import SLOPE
from stages.networks.fewshot.config import FewShotConfig
from stages.networks.fewshot.spade import LevelWeights, ModulationWeights


@dataclass(frozen=True)
class Shape:
    """One generated matrix [rows, fan_in + 1], the last column its bias."""

    rows: int
    fan_in: int
    modulation: bool

    @property
    def size(self) -> int:
        return self.rows * (self.fan_in + 1)


def shapes_of(config: FewShotConfig, level: int) -> list[Shape]:
    """The matrices of a level: of its SPADE layers (theta_S if `hidden`, theta_gamma with theta_beta), then of the label embedding."""
    wide = [*config.channels, config.channels[-1]]
    inputs, outputs, label = wide[level + 1], wide[level], config.label_channels[level]
    features = [inputs, outputs, *([inputs] if config.spade_shortcut and inputs != outputs else [])]
    shapes: list[Shape] = []
    for count in features:
        if config.hidden:
            shapes.append(Shape(config.hidden, label, False))
        shapes.append(Shape(2 * count, config.hidden or label, True))
    if config.label_embedding == "generated":
        shapes.append(Shape(label, config.label_channels[level + 1], False))
    return shapes


def _assembled(matrices: Sequence[Tensor], shapes: Sequence[Shape], config: FewShotConfig) -> LevelWeights:
    ordered = list(matrices)
    embedding = ordered.pop() if config.label_embedding == "generated" else None
    layers, shared = [], None
    for matrix, shape in zip(ordered, shapes, strict=False):
        if not shape.modulation:
            shared = matrix
        else:
            layers.append(ModulationWeights(shared, matrix))
    return LevelWeights(tuple(layers), embedding)


class AverageWeights(nn.Module):
    """From averaged features: one MLP makes all matrices of a level (few-shot vid2vid, section 3)."""

    def __init__(self, config: FewShotConfig, level: int) -> None:
        super().__init__()
        self.config, self.shapes = config, shapes_of(config, level)
        width = config.weight_hidden
        self.layers = nn.Sequential(
            nn.Linear(config.channels[level + 1], width), nn.LeakyReLU(SLOPE), nn.Linear(width, width), nn.LeakyReLU(SLOPE),
            nn.Linear(width, sum(shape.size for shape in self.shapes)),
        )  # fmt: skip
        self._start()

    def forward(self, features: Tensor) -> LevelWeights:
        """features [B, C]."""
        parts = self.layers(features).split([shape.size for shape in self.shapes], 1)
        return _assembled([part.unflatten(1, (s.rows, -1)) for part, s in zip(parts, self.shapes, strict=True)], self.shapes, self.config)

    @torch.no_grad()
    def _start(self) -> None:
        """The bias of the last layer starts as an ordinary initialisation of the generated layers, its weights as a small change of it."""
        last = self.layers[-1]
        assert isinstance(last, nn.Linear)
        last.weight.mul_(0.1)
        parts = []
        for shape in self.shapes:
            part = torch.randn(shape.rows, shape.fan_in + 1) * ((0.14 if shape.modulation else 1.4) / shape.fan_in**0.5)
            part[:, -1] = 0
            parts.append(part.flatten())
        last.bias.copy_(torch.cat(parts))


class RowWeights(nn.Module):
    """From products [B, C, C]: an MLP for each matrix makes it row by row, with the same weights for every row (the public code).

    Where a matrix has C or 2 C rows, or C inputs, each row of the product makes a row or a column of it.
    """

    def __init__(self, config: FewShotConfig, level: int) -> None:
        super().__init__()
        self.config, self.shapes = config, shapes_of(config, level)
        width = config.channels[level + 1]
        self.heads = nn.ModuleList(_row_mlp(width, -(-shape.size // width), spectral=config.spectral) for shape in self.shapes)

    def forward(self, features: Tensor) -> LevelWeights:
        """features [B, C, C]."""
        matrices = [_dealt(head(features), shape) for head, shape in zip(self.heads, self.shapes, strict=True)]
        return _assembled(matrices, self.shapes, self.config)


def _row_mlp(width: int, outputs: int, *, spectral: bool) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Linear(width, width), nn.Linear(width, width), nn.Linear(width, outputs)]
    first, second, last = map(spectral_norm, layers) if spectral else layers
    return nn.Sequential(first, nn.LeakyReLU(SLOPE), second, nn.LeakyReLU(SLOPE), last)


def _dealt(made: Tensor, shape: Shape) -> Tensor:
    """made [B, C, n] -> [B, rows, fan_in + 1]."""
    columns, width = shape.fan_in + 1, made.shape[1]
    if shape.rows % width == 0:  # each row of the features makes one or two rows of the matrix
        rows: Tensor = made.unflatten(2, (-1, columns)).transpose(1, 2).flatten(1, 2)
        return rows
    if shape.fan_in == width and width % shape.rows == 0:  # each makes a column; what is left over is the bias
        weights, bias = made[..., : shape.rows].mT, made[..., shape.rows :].flatten(1)
        return torch.cat([weights, bias.unflatten(1, (shape.rows, -1)).mean(2, keepdim=True)], 2)
    wanted: Tensor = made.flatten(1)[:, : shape.size].unflatten(1, (shape.rows, columns))
    return wanted
