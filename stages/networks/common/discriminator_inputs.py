"""What discriminators are shown besides whole images: windows of video at several frame rates (vid2vid, section 3), and regions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from stages.flow.warp import warp


class Past(NamedTuple):
    """What was before the present frame of a window, oldest first; flows[i] leads from frame i + 1 of the window back to frame i."""

    real: list[Tensor]
    fake: list[Tensor]
    flows: list[Tensor]


def windows(past: Past, real: Tensor, fake: Tensor, frames: int, rates: int) -> list[tuple[int, Tensor, Tensor]]:
    """For each frame rate that the past is long enough for: (its number, the real window, the fake one), ending with the present.

    Rate r takes every 2^r-th frame (vid2vid, section 3: the video at several frame rates); flows over more than one frame are composed.
    """
    reals, fakes = [*past.real, real], [*past.fake, fake]
    found = []
    for rate in range(rates):
        stride = 2**rate
        picked = range(len(reals) - 1 - (frames - 1) * stride, len(reals), stride)
        if picked[0] >= 0:
            flows = [_composed(past.flows[start : start + stride]) for start in picked[:-1]]
            found.append((rate, video_window([reals[i] for i in picked], flows), video_window([fakes[i] for i in picked], flows)))
    return found


def _composed(flows: list[Tensor]) -> Tensor:
    """Backward flows of consecutive frames, oldest first, as one from the newest frame to the oldest."""
    total = flows[-1]
    for older in reversed(flows[:-1]):
        total = total + warp(older, total)
    return total


def boxes_of(keypoints: Tensor, points: Sequence[int], height: int, width: int, room: float = 2.0) -> tuple[Tensor, Tensor]:
    """A square box around some keypoints [B, N, 3], `room` times as wide as they are and within the image.

    Returns boxes [B, 4] (x0, y0, x1, y1 in pixels) and whether any of the points is there, [B].
    """
    chosen = keypoints[:, list(points)]
    seen = chosen[..., 2] > 0
    far = chosen.new_tensor(float("inf"))
    low = torch.where(seen[..., None], chosen[..., :2], far).amin(1)
    high = torch.where(seen[..., None], chosen[..., :2], -far).amax(1)
    there = seen.any(1)
    centre = torch.where(there[:, None], (low + high) / 2, chosen.new_tensor([width - 1, height - 1]) / 2)
    half = torch.where(there, (high - low).amax(1) * (room / 2), far).clamp(min(height, width) / 16, (min(height, width) - 1) / 2)[:, None]
    reach = chosen.new_tensor([width - 1, height - 1])
    centre = torch.minimum(torch.maximum(centre, half), (reach - half).clamp(min=0) + 0 * centre)
    return torch.cat([centre - half, centre + half], 1), there


def crop_region(image: Tensor, boxes: Tensor, side: int) -> Tensor:
    """The boxes [B, 4] of images [B, C, H, W], resampled to [B, C, side, side]; differentiable in the image."""
    place = torch.linspace(0, 1, side, device=image.device, dtype=torch.float32)
    x = boxes[:, 0:1] + (boxes[:, 2:3] - boxes[:, 0:1]) * place
    y = boxes[:, 1:2] + (boxes[:, 3:4] - boxes[:, 1:2]) * place
    x, y = x * (2 / max(image.shape[-1] - 1, 1)) - 1, y * (2 / max(image.shape[-2] - 1, 1)) - 1
    grid = torch.stack([x[:, None].expand(-1, side, -1), y[:, :, None].expand(-1, -1, side)], -1)
    return F.grid_sample(image.float(), grid, padding_mode="border", align_corners=True)


def video_window(frames: list[Tensor], flows: list[Tensor]) -> Tensor:
    """What D_V sees: K consecutive frames [B, 3, H, W] and the K - 1 real flows [B, 2, H, W] between them, scaled by the height."""
    return torch.cat([*frames, *(flow * (10 / flow.shape[-2]) for flow in flows)], 1)
