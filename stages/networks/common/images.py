"""Conversion between images of files, uint8 RGB [..., H, W, 3], and images of networks, float32 [..., 3, H, W] in [-1, 1]."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def image_tensor(images: NDArray[np.uint8]) -> Tensor:
    """uint8 [..., H, W, 3] -> float32 [..., 3, H, W] in [-1, 1], channels last in memory."""
    return torch.from_numpy(np.ascontiguousarray(images)).movedim(-1, -3).float() / 127.5 - 1


def image_array(images: Tensor) -> NDArray[np.uint8]:
    """[..., 3, H, W] in [-1, 1] -> uint8 [..., H, W, 3], rounded; values outside the range are clipped."""
    array: NDArray[np.uint8] = images.add(1).mul(127.5).round().clamp(0, 255).byte().movedim(-3, -1).cpu().numpy()
    return array
