"""The backward warp of vid2vid: out(x) = in(x + flow(x))."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F


def warp(image: Tensor, flow: Tensor, mode: Literal["bilinear", "bicubic"] = "bilinear") -> Tensor:
    """image [B, C, H, W], flow [B, 2, H, W] in pixels (dx, dy) -> [B, C, H, W]. Beyond the edge of the image its pixels are repeated.

    mode: the interpolation; bicubic keeps more detail.
    """
    height, width = flow.shape[-2:]
    y = torch.arange(height, device=flow.device, dtype=torch.float32)
    x = torch.arange(width, device=flow.device, dtype=torch.float32)
    grid_x = (x + flow[:, 0].float()) * (2 / max(width - 1, 1)) - 1
    grid_y = (y[:, None] + flow[:, 1].float()) * (2 / max(height - 1, 1)) - 1
    grid = torch.stack([grid_x, grid_y], -1)
    return F.grid_sample(image.float(), grid, mode=mode, padding_mode="border", align_corners=True)
