"""The appearance of instances (vid2vid, section 3, multimodal synthesis): an encoder of the image, averaged over each instance."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stages.networks.common.residual import conv7x7, decoder, encoder


class AppearanceEncoder(nn.Module):
    """E: an image to features of the same size in [-1, 1]."""

    def __init__(self, channels: int, filters: int, downs: int) -> None:
        super().__init__()
        widths = [filters * 2**level for level in range(downs + 1)]
        self.layers = nn.Sequential(*encoder(3, widths, 0, affine=True), *decoder(widths, 0, affine=True), conv7x7(filters, channels))

    def forward(self, image: Tensor) -> Tensor:
        """image [B, 3, H, W] -> [B, channels, H, W]; H and W are multiples of 2^downs."""
        return torch.tanh(self.layers(image))


def region_means(features: Tensor, regions: Tensor) -> Tensor:
    """Each pixel gets the mean of the features of its region; region 0 gets zeros.

    features [B, C, H, W], regions [B, H, W] whole numbers from 0 -> [B, C, H, W].
    """
    batch, channels, height, width = features.shape
    count = int(regions.max()) + 1
    place = (regions.long() + count * torch.arange(batch, device=regions.device)[:, None, None]).flatten()
    pixels = features.movedim(1, -1).reshape(-1, channels)
    sums = pixels.new_zeros(batch * count, channels).index_add(0, place, pixels)
    areas = pixels.new_zeros(batch * count).index_add(0, place, torch.ones_like(pixels[:, 0]))
    inside = torch.arange(batch * count, device=place.device) % count > 0
    means = sums / areas.clamp(min=1)[:, None] * inside[:, None]
    return means[place].view(batch, height, width, channels).movedim(-1, 1)
