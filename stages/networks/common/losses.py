"""The terms of the objective: those of vid2vid (eq. 5 to 8), the mask term of the public code, and terms for keypoints and attention."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from stages.networks.common.discriminator import Outputs

Gan = Literal["hinge", "lsgan"]


def discriminator_loss(real: Outputs, fake: Outputs, gan: Gan = "hinge") -> Tensor:
    """The discriminator's loss, averaged over scales: hinge, or least squares as in vid2vid."""
    return torch.stack(
        [_output_loss(r[-1].float(), 1, gan) + _output_loss(f[-1].float(), -1, gan) for r, f in zip(real, fake, strict=True)]
    ).mean()


def generator_loss(fake: Outputs, gan: Gan = "hinge") -> Tensor:
    """The adversarial loss of the generator: -mean(D(fake)) with hinge, not clipped, as in the public code; else mean((D(fake) - 1)^2)."""
    terms = [-f[-1].float().mean() if gan == "hinge" else _output_loss(f[-1].float(), 1, gan) for f in fake]
    return torch.stack(terms).mean()


def _output_loss(output: Tensor, sign: int, gan: Gan) -> Tensor:
    """The loss of a discriminator's output that should be real (sign 1) or fake (-1): hinge, or squared distance from 1 or 0."""
    if gan == "hinge":
        return F.relu(1 - sign * output).mean()
    return (output - max(sign, 0)).square().mean()


def feature_matching(real: Outputs, fake: Outputs) -> Tensor:
    """L1 between the discriminator's features of real and fake images, over all layers except the output."""
    pairs = [pair for rs, fs in zip(real, fake, strict=True) for pair in zip(rs[:-1], fs[:-1], strict=True)]
    return torch.stack([F.l1_loss(f.float(), r.float().detach()) for r, f in pairs]).mean()


def mask_loss(mask: Tensor, warped: Tensor, target: Tensor, tolerance: float = 0.2) -> Tensor:
    """Pushes the mask to 0 where the warp is exact and to 1 where its error, averaged over the channels, is `tolerance` or more.

    mask [B, 1, H, W]; images [B, 3, H, W] in [-1, 1]. The tolerance of the public code is 1/3: a sum of 1 over the channels.
    """
    confidence = (1 - 1 / tolerance * (warped - target).abs().mean(1, keepdim=True)).clamp(0, 1).detach()
    return (mask * confidence + (1 - mask) * (1 - confidence)).mean()


def flow_loss(flow: Tensor, teacher: Tensor, confidence: Tensor) -> Tensor:
    """First term of eq. 8: L1 to the teacher's flow, in tenths of the height, weighted by its confidence [B, 1, H, W] in [0, 1]."""
    return ((flow - teacher).abs() * confidence).mean() * (10 / flow.shape[-2])


def keypoint_flow_loss(flow: Tensor, driving: Tensor, source: Tensor) -> Tensor:
    """L1 between the backward flow at each driving keypoint and the offset to the same keypoint of the source, in tenths of the height.

    flow [B, 2, H, W]; keypoints [B, N, 3] (x, y in pixels, confidence). Only keypoints count that have a confidence above 0 in both frames
    and lie inside the driving frame. The loss is a mean over these keypoints, then over samples.
    """
    height, width = flow.shape[-2:]
    last_pixel = torch.tensor([max(width - 1, 1), max(height - 1, 1)], device=flow.device)
    grid = driving[:, None, :, :2] * (2 / last_pixel) - 1
    sampled = F.grid_sample(flow.float(), grid.float(), padding_mode="border", align_corners=True)[:, :, 0].mT
    seen = ((driving[..., 2] > 0) & (source[..., 2] > 0) & (grid[:, 0].abs().amax(-1) <= 1)).float()
    error = (sampled - (source[..., :2] - driving[..., :2])).abs().sum(-1) * (10 / height)
    return ((error * seen).sum(1) / seen.sum(1).clamp(min=1)).mean()


def attention_loss(shares: Tensor, driving: Tensor, examples: Tensor) -> Tensor:
    """Cross-entropy that pushes the attention to the example whose keypoints are nearest to the driving ones, apart from a shift.

    shares [B, K]; driving [B, N, 3], examples [B, K, N, 3]: x, y in pixels, confidence. The loss of a sample without common keypoints is 0.
    """
    common = ((driving[:, None, :, 2] > 0) & (examples[..., 2] > 0)).float()[..., None]  # [B, K, N, 1]
    offset = (examples[..., :2] - driving[:, None, :, :2]) * common
    comparable = common.sum((2, 3)) > 0  # [B, K]
    count = common.sum(2, keepdim=True).clamp(min=1)
    distance = ((offset - offset.sum(2, keepdim=True) / count) * common).square().sum((2, 3)) / count[:, :, 0, 0]
    distance = torch.where(comparable, distance, torch.inf)
    per_sample = F.nll_loss(shares.clamp(min=1e-6).log(), distance.argmin(1), reduction="none")
    return (per_sample * comparable.any(1)).mean()
