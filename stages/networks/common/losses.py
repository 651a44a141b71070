"""The terms of the objective: vid2vid eq. 5 to 8, and the warp, mask and keypoint terms of the public code."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from stages.networks.common.discriminator import Outputs

Gan = Literal["hinge", "lsgan"]


def discriminator_loss(real: Outputs, fake: Outputs, gan: Gan = "hinge") -> Tensor:
    """The discriminator's loss, averaged over scales: hinge, or least squares as in vid2vid."""
    return torch.stack([_margin(r[-1].float(), 1, gan) + _margin(f[-1].float(), -1, gan) for r, f in zip(real, fake, strict=True)]).mean()


def generator_loss(fake: Outputs, gan: Gan = "hinge") -> Tensor:
    """The generator's side: -mean(D(fake)), not clipped as in the public code; with least squares the distance to "real"."""
    terms = [-f[-1].float().mean() if gan == "hinge" else _margin(f[-1].float(), 1, gan) for f in fake]
    return torch.stack(terms).mean()


def _margin(output: Tensor, side: int, gan: Gan) -> Tensor:
    """How far a output is from its side, 1 for real and -1 for fake (least squares: from 1 and 0)."""
    if gan == "hinge":
        return F.relu(1 - side * output).mean()
    return (output - max(side, 0)).square().mean()


def feature_matching(real: Outputs, fake: Outputs) -> Tensor:
    """L1 between the discriminator's features of real and fake images, all layers but the output."""
    pairs = [pair for rs, fs in zip(real, fake, strict=True) for pair in zip(rs[:-1], fs[:-1], strict=True)]
    return torch.stack([F.l1_loss(f.float(), r.float().detach()) for r, f in pairs]).mean()


def mask_loss(mask: Tensor, warped: Tensor, target: Tensor) -> Tensor:
    """Pushes the mask to 0 where the warp is right and to 1 where it is off by a tenth of the range.

    mask [B, 1, H, W]; images [B, 3, H, W].
    The public code is content with errors up to 1 summed over the channels; a mask then trusts every warp and H is never asked.
    """
    confidence = (1 - 5 * (warped - target).abs().mean(1, keepdim=True)).clamp(0, 1).detach()
    return (mask * confidence + (1 - mask) * (1 - confidence)).mean()


def flow_loss(flow: Tensor, teacher: Tensor, confidence: Tensor) -> Tensor:
    """First term of eq. 8: L1 to the teacher's flow in tenths of the height, where it can be trusted. confidence [B, 1, H, W]."""
    return ((flow - teacher).abs() * confidence).mean() * (10 / flow.shape[-2])


def keypoint_flow_loss(flow: Tensor, driving: Tensor, source: Tensor) -> Tensor:
    """At each driving keypoint the backward flow must lead to the same keypoint of the source, in tenths of the height.

    flow [B, 2, H, W]; keypoints [B, N, 3] (x, y in pixels, confidence); only pairs with both confidences above 0 count.
    A mean over pairs, then over samples.
    """
    height, width = flow.shape[-2:]
    span = torch.tensor([max(width - 1, 1), max(height - 1, 1)], device=flow.device)
    grid = driving[:, None, :, :2] * (2 / span) - 1
    sampled = F.grid_sample(flow.float(), grid.float(), padding_mode="border", align_corners=True)[:, :, 0].mT
    seen = ((driving[..., 2] > 0) & (source[..., 2] > 0) & (grid[:, 0].abs().amax(-1) <= 1)).float()
    error = (sampled - (source[..., :2] - driving[..., :2])).abs().sum(-1) * (10 / height)
    return ((error * seen).sum(1) / seen.sum(1).clamp(min=1)).mean()


def attention_loss(shares: Tensor, driving: Tensor, examples: Tensor) -> Tensor:
    """Cross-entropy between the examples' shares of attention [B, K] and the one whose keypoints are nearest, apart from their place.

    driving [B, N, 3], examples [B, K, N, 3]: x, y in pixels, confidence. A sample without keypoints in common counts as 0.
    """
    both = ((driving[:, None, :, 2] > 0) & (examples[..., 2] > 0)).float()[..., None]  # [B, K, N, 1]
    offset = (examples[..., :2] - driving[:, None, :, :2]) * both
    shared = both.sum((2, 3)) > 0  # [B, K]
    count = both.sum(2, keepdim=True).clamp(min=1)
    distance = ((offset - offset.sum(2, keepdim=True) / count) * both).square().sum((2, 3)) / count[:, :, 0, 0]
    distance = torch.where(shared, distance, torch.inf)
    each = F.nll_loss(shares.clamp(min=1e-6).log(), distance.argmin(1), reduction="none")
    return (each * shared.any(1)).mean()
