"""E_P: MLPs that generate the weights theta_H of a level from features of the examples (eq. 7)."""

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
    """The shape of a generated matrix [rows, fan_in + 1], whose last column is the bias."""

    rows: int
    fan_in: int
    modulation: bool
    """Whether it is theta_gamma and theta_beta, the last matrix of a SPADE layer."""

    @property
    def size(self) -> int:
        """Number of values."""
        return self.rows * (self.fan_in + 1)


def shapes_of(config: FewShotConfig, level: int) -> list[Shape]:
    """The matrices of a level.

    For each SPADE layer theta_S (if `hidden` > 0), and theta_gamma with theta_beta; then that of the label embedding, if it is generated.
    """
    channels = [*config.channels, config.channels[-1]]
    inputs, outputs, label = channels[level + 1], channels[level], config.label_channels[level]
    features = [inputs, outputs, *([inputs] if config.spade_shortcut and inputs != outputs else [])]
    shapes: list[Shape] = []
    for count in features:
        if config.hidden:
            shapes.append(Shape(config.hidden, label, False))
        shapes.append(Shape(2 * count, config.hidden or label, True))
    if config.label_embedding == "generated":
        shapes.append(Shape(label, config.label_channels[level + 1], False))
    return shapes


def _level_weights(matrices: Sequence[Tensor], shapes: Sequence[Shape], config: FewShotConfig) -> LevelWeights:
    """The weights of a level from its matrices [B, rows, fan_in + 1], in the order of `shapes_of`."""
    remaining = list(matrices)
    embedding = remaining.pop() if config.label_embedding == "generated" else None
    layers, shared = [], None
    for matrix, shape in zip(remaining, shapes, strict=False):
        if not shape.modulation:
            shared = matrix
        else:
            layers.append(ModulationWeights(shared, matrix))
    return LevelWeights(tuple(layers), embedding)


class AverageWeights(nn.Module):
    """One MLP that makes all matrices of a level from averaged features (few-shot vid2vid, section 3)."""

    def __init__(self, config: FewShotConfig, level: int) -> None:
        super().__init__()
        self.config, self.shapes = config, shapes_of(config, level)
        width = config.weight_hidden
        self.layers = nn.Sequential(
            nn.Linear(config.channels[level + 1], width), nn.LeakyReLU(SLOPE), nn.Linear(width, width), nn.LeakyReLU(SLOPE),
            nn.Linear(width, sum(shape.size for shape in self.shapes)),
        )  # fmt: skip
        self._initialise()

    def forward(self, features: Tensor) -> LevelWeights:
        """features [B, C]."""
        parts = self.layers(features).split([shape.size for shape in self.shapes], 1)
        matrices = [part.unflatten(1, (shape.rows, -1)) for part, shape in zip(parts, self.shapes, strict=True)]
        return _level_weights(matrices, self.shapes, self.config)

    @torch.no_grad()
    def _initialise(self) -> None:
        """Sets the bias of the last layer to a usual initialisation of the generated layers, and scales its weights down."""
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
    """One MLP for each matrix of a level, applied to each of the C rows of a product [B, C, C] (the public code).

    `_rows_to_matrix` says how its C outputs form the matrix.
    """

    def __init__(self, config: FewShotConfig, level: int) -> None:
        super().__init__()
        self.config, self.shapes = config, shapes_of(config, level)
        width = config.channels[level + 1]
        self.heads = nn.ModuleList(_row_mlp(width, -(-shape.size // width), spectral=config.spectral) for shape in self.shapes)

    def forward(self, features: Tensor) -> LevelWeights:
        """features [B, C, C]."""
        matrices = [_rows_to_matrix(head(features), shape) for head, shape in zip(self.heads, self.shapes, strict=True)]
        return _level_weights(matrices, self.shapes, self.config)


def _row_mlp(width: int, outputs: int, *, spectral: bool) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Linear(width, width), nn.Linear(width, width), nn.Linear(width, outputs)]
    first, second, last = map(spectral_norm, layers) if spectral else layers
    return nn.Sequential(first, nn.LeakyReLU(SLOPE), second, nn.LeakyReLU(SLOPE), last)


def _rows_to_matrix(outputs: Tensor, shape: Shape) -> Tensor:
    """The outputs of an MLP for C rows of features, [B, C, n] -> [B, rows, fan_in + 1].

    If the number of rows of the matrix is a multiple of C, the output for each row of features becomes one or more of its rows. If it has C
    inputs and C is a multiple of its number of rows, the output becomes a column of its weights. Else all outputs are reshaped.
    """
    columns, width = shape.fan_in + 1, outputs.shape[1]
    if shape.rows % width == 0:
        rows: Tensor = outputs.unflatten(2, (-1, columns)).transpose(1, 2).flatten(1, 2)
        return rows
    if shape.fan_in == width and width % shape.rows == 0:  # the bias is a mean of the remaining outputs
        weights, bias = outputs[..., : shape.rows].mT, outputs[..., shape.rows :].flatten(1)
        return torch.cat([weights, bias.unflatten(1, (shape.rows, -1)).mean(2, keepdim=True)], 2)
    reshaped: Tensor = outputs.flatten(1)[:, : shape.size].unflatten(1, (shape.rows, columns))
    return reshaped
