"""Inputs of discriminators that are not whole images: windows of video at several frame rates (vid2vid, section 3), and regions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from stages.flow.warp import warp


class History(NamedTuple):
    """The frames of a window before the present one, oldest first. flows[i] is the backward flow from frame i + 1 to frame i."""

    real: list[Tensor]
    fake: list[Tensor]
    flows: list[Tensor]


def windows(past: History, real: Tensor, fake: Tensor, frames: int, rates: int) -> list[tuple[int, Tensor, Tensor]]:
    """(rate, real window, fake window) for each frame rate for which the past is long enough. Windows end with the present frame.

    Rate r takes every 2^r-th frame, `frames` in all (vid2vid, section 3). Flows over more than one frame are composed. `past.flows` must
    end with the flow from the present frame to the newest frame of the past.
    """
    reals, fakes = [*past.real, real], [*past.fake, fake]
    result = []
    for rate in range(rates):
        stride = 2**rate
        indices = range(len(reals) - 1 - (frames - 1) * stride, len(reals), stride)
        if indices[0] >= 0:
            flows = [_compose_flows(past.flows[start : start + stride]) for start in indices[:-1]]
            result.append((rate, video_window([reals[i] for i in indices], flows), video_window([fakes[i] for i in indices], flows)))
    return result


def _compose_flows(flows: list[Tensor]) -> Tensor:
    """The backward flow from the newest frame to the oldest. flows: those between consecutive frames, oldest first."""
    total = flows[-1]
    for older in reversed(flows[:-1]):
        total = total + warp(older, total)
    return total


def square_boxes(keypoints: Tensor, points: Sequence[int], height: int, width: int, margin: float = 2.0) -> tuple[Tensor, Tensor]:
    """A square box inside the image for each sample, around the visible ones of the keypoints [B, N, 3] with the indices `points`.

    Its side is `margin` times the longer side of their bounding box, but at least an eighth of the shorter side of the image.

    Returns boxes [B, 4] (x0, y0, x1, y1 in pixels) and whether any of the points is visible, [B].
    """
    chosen = keypoints[:, list(points)]
    seen = chosen[..., 2] > 0
    infinity = chosen.new_tensor(float("inf"))
    low = torch.where(seen[..., None], chosen[..., :2], infinity).amin(1)
    high = torch.where(seen[..., None], chosen[..., :2], -infinity).amax(1)
    visible = seen.any(1)
    centre = torch.where(visible[:, None], (low + high) / 2, chosen.new_tensor([width - 1, height - 1]) / 2)
    half = torch.where(visible, (high - low).amax(1) * (margin / 2), infinity)
    half = half.clamp(min(height, width) / 16, (min(height, width) - 1) / 2)[:, None]
    last_pixel = chosen.new_tensor([width - 1, height - 1])
    centre = torch.minimum(torch.maximum(centre, half), (last_pixel - half).clamp(min=0) + 0 * centre)
    return torch.cat([centre - half, centre + half], 1), visible


def crop_region(image: Tensor, boxes: Tensor, side: int) -> Tensor:
    """The boxes [B, 4] of images [B, C, H, W], resampled to [B, C, side, side]; differentiable in the image."""
    fractions = torch.linspace(0, 1, side, device=image.device, dtype=torch.float32)
    x = boxes[:, 0:1] + (boxes[:, 2:3] - boxes[:, 0:1]) * fractions
    y = boxes[:, 1:2] + (boxes[:, 3:4] - boxes[:, 1:2]) * fractions
    x, y = x * (2 / max(image.shape[-1] - 1, 1)) - 1, y * (2 / max(image.shape[-2] - 1, 1)) - 1
    grid = torch.stack([x[:, None].expand(-1, side, -1), y[:, :, None].expand(-1, -1, side)], -1)
    return F.grid_sample(image.float(), grid, padding_mode="border", align_corners=True)


def video_window(frames: list[Tensor], flows: list[Tensor]) -> Tensor:
    """The input of D_V: K frames [B, 3, H, W] and the K - 1 real flows [B, 2, H, W] between them, in tenths of the height."""
    return torch.cat([*frames, *(flow * (10 / flow.shape[-2]) for flow in flows)], 1)
