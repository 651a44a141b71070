"""Layers computed one pixel at a time, for one image [C, H, W]: what tests compare networks with."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def convolved(x: Tensor, layer: nn.Module) -> Tensor:
    """[C, H, W] -> [O, H, W] by a convolution of stride 1 with zeros around the image."""
    assert isinstance(layer, nn.Conv2d) and layer.bias is not None
    reach = layer.kernel_size[0] // 2
    padded = F.pad(x, [reach] * 4)
    rows = []
    for i in range(x.shape[1]):
        places = [padded[:, i : i + 2 * reach + 1, j : j + 2 * reach + 1] for j in range(x.shape[2])]
        rows.append(torch.stack([torch.stack([(w * place).sum() for w in layer.weight]) + layer.bias for place in places], 1))
    return torch.stack(rows, 1)


def pooled(x: Tensor) -> Tensor:
    """The largest of each 2x2 values."""
    return torch.stack(
        [torch.stack([x[:, i : i + 2, j : j + 2].flatten(1).amax(1) for j in range(0, x.shape[2], 2)], 1) for i in range(0, x.shape[1], 2)],
        1,
    )


def doubled(x: Tensor) -> Tensor:
    """Each value four times."""
    return torch.stack([torch.stack([x[:, i // 2, j // 2] for j in range(2 * x.shape[2])], 1) for i in range(2 * x.shape[1])], 1)


def sampled(x: Tensor, column: float, row: float) -> Tensor:
    """The values [C] at a place of [C, H, W], bilinear, with the edge repeated."""
    height, width = x.shape[-2:]
    column, row = min(max(column, 0.0), width - 1.0), min(max(row, 0.0), height - 1.0)
    left, top = math.floor(column), math.floor(row)
    right, bottom = min(left + 1, width - 1), min(top + 1, height - 1)
    a, b = column - left, row - top
    upper = (1 - a) * x[:, top, left] + a * x[:, top, right]
    lower = (1 - a) * x[:, bottom, left] + a * x[:, bottom, right]
    return (1 - b) * upper + b * lower


def convlstm(x: Tensor, hidden: Tensor, cell: Tensor, gates: nn.Module, *, hard: bool) -> tuple[Tensor, Tensor]:
    """One step of a convolutional LSTM, each channel of each gate on its own; gates are in the order i, f, o, g."""
    outputs = convolved(torch.cat([x, hidden]), gates)
    count = len(hidden)
    made = []
    for channel in range(count):
        i, f, o, g = (outputs[gate * count + channel] for gate in range(4))
        i, f, o = ((0.2 * v + 0.5).clamp(0, 1) if hard else 1 / (1 + torch.exp(-v)) for v in (i, f, o))
        new = f * cell[channel] + i * torch.tanh(g)
        made.append((o * torch.tanh(new), new))
    return torch.stack([h for h, _ in made]), torch.stack([c for _, c in made])
