"""Layers computed pixel by pixel for one image [C, H, W], as references for the networks."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def convolve(x: Tensor, layer: nn.Module) -> Tensor:
    """[C, H, W] -> [O, H, W]: a convolution with stride 1 and zero padding that keeps the size."""
    assert isinstance(layer, nn.Conv2d) and layer.bias is not None
    padding = layer.kernel_size[0] // 2
    padded = F.pad(x, [padding] * 4)
    rows = []
    for i in range(x.shape[1]):
        patches = [padded[:, i : i + 2 * padding + 1, j : j + 2 * padding + 1] for j in range(x.shape[2])]
        rows.append(torch.stack([torch.stack([(w * patch).sum() for w in layer.weight]) + layer.bias for patch in patches], 1))
    return torch.stack(rows, 1)


def max_pool(x: Tensor) -> Tensor:
    """[C, H, W] -> [C, H/2, W/2]: the maximum of each 2x2 pixels."""
    return torch.stack(
        [torch.stack([x[:, i : i + 2, j : j + 2].flatten(1).amax(1) for j in range(0, x.shape[2], 2)], 1) for i in range(0, x.shape[1], 2)],
        1,
    )


def upsample(x: Tensor) -> Tensor:
    """[C, H, W] -> [C, 2H, 2W]: each pixel becomes 2x2 equal ones."""
    return torch.stack([torch.stack([x[:, i // 2, j // 2] for j in range(2 * x.shape[2])], 1) for i in range(2 * x.shape[1])], 1)


def sample_bilinear(x: Tensor, column: float, row: float) -> Tensor:
    """The values [C] of x [C, H, W] at a position, bilinear; the border is repeated."""
    height, width = x.shape[-2:]
    column, row = min(max(column, 0.0), width - 1.0), min(max(row, 0.0), height - 1.0)
    left, top = math.floor(column), math.floor(row)
    right, bottom = min(left + 1, width - 1), min(top + 1, height - 1)
    right_share, lower_share = column - left, row - top
    upper = (1 - right_share) * x[:, top, left] + right_share * x[:, top, right]
    lower = (1 - right_share) * x[:, bottom, left] + right_share * x[:, bottom, right]
    return (1 - lower_share) * upper + lower_share * lower


def convlstm_step(x: Tensor, hidden: Tensor, cell: Tensor, gates: nn.Module, *, hard: bool) -> tuple[Tensor, Tensor]:
    """(hidden state, cell) after one step of a convolutional LSTM, channel by channel. The gates have the order i, f, o, g.

    hard: the gates are hard sigmoids, max(0, min(1, 0.2 x + 0.5)).
    """
    outputs = convolve(torch.cat([x, hidden]), gates)
    count = len(hidden)
    channels = []
    for channel in range(count):
        i, f, o, g = (outputs[gate * count + channel] for gate in range(4))
        i, f, o = ((0.2 * v + 0.5).clamp(0, 1) if hard else 1 / (1 + torch.exp(-v)) for v in (i, f, o))
        new = f * cell[channel] + i * torch.tanh(g)
        channels.append((o * torch.tanh(new), new))
    return torch.stack([h for h, _ in channels]), torch.stack([c for _, c in channels])
