"""How far a warped example can be trusted: where it agrees with the network's image, apart from light and shadow."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

TOLERANCE = 12.0
"""Grey levels by which a warp may differ from the frame, apart from light and shadow, before it is no longer trusted."""
LIGHT_SIGMA = 1 / 64
"""Standard deviation of the Gaussian that separates light and shadow from detail, in image heights."""


def light_and_trust(frame: Tensor, warped: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """The change of light from the warp to the frame, [B, 3, H, W], and the opacity of the warp, [B, 1, H, W] in [0, 1].

    frame, warped: float32 [B, 3, H, W] in [-1, 1]. mask: m_e [B, 1, H, W], the share of h_t; None: 0.
    `stages/synthesize/canvas.py` computes the same for one frame in numpy.
    """
    sigma = LIGHT_SIGMA * frame.shape[-2]
    light = _blur(frame - warped, sigma)
    error = _blur((frame - warped - light).abs().mean(1, keepdim=True), max(sigma / 3, 0.5))
    trust = torch.exp(-(error * (127.5 / TOLERANCE)).square())
    return light, trust if mask is None else trust * (1 - mask)


def _blur(image: Tensor, sigma: float) -> Tensor:
    """A Gaussian blur of [B, C, H, W]; beyond its border the image is mirrored."""
    radius = min(round(8 * sigma + 1) // 2, *(side - 1 for side in image.shape[-2:]))
    offsets = torch.arange(-radius, radius + 1, device=image.device)
    kernel = torch.tensor([math.exp(-0.5 * (offset / sigma) ** 2) for offset in offsets.tolist()], device=image.device)
    weight = (kernel / kernel.sum()).expand(image.shape[1], 1, 1, -1)
    with torch.autocast(image.device.type, enabled=False):
        padded = F.pad(image.float(), (radius,) * 4, mode="reflect")
        rows = F.conv2d(padded, weight, groups=image.shape[1])
        return F.conv2d(rows, weight.mT, groups=image.shape[1])
