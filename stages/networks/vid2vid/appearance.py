"""The appearance of instances (vid2vid, section 3, multimodal synthesis): features of the image, averaged over each instance."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stages.networks.common.residual import conv7x7, decoder, encoder


class AppearanceEncoder(nn.Module):
    """E, the encoder of the appearance.

    with_colour: its features are added to the colours of the image, so `channels` must be 3. The normalisation layers of E remove the mean
    colour, which the generator needs first.
    """

    def __init__(self, channels: int, filters: int, downs: int, with_colour: bool = False) -> None:
        super().__init__()
        self.with_colour = with_colour
        widths = [filters * 2**level for level in range(downs + 1)]
        self.layers = nn.Sequential(*encoder(3, widths, 0, affine=True), *decoder(widths, 0, affine=True), conv7x7(filters, channels))

    def start_from_colour(self) -> None:
        """Make the features zero, so that the sum is the image; before training."""
        for parameter in self.layers[-1].parameters():
            nn.init.zeros_(parameter)

    def forward(self, image: Tensor) -> Tensor:
        """image [B, 3, H, W] -> features [B, channels, H, W] in [-1, 1], or [-2, 2] with colour; H and W are multiples of 2^downs."""
        features = torch.tanh(self.layers(image))
        return features + image if self.with_colour else features


def region_means(features: Tensor, regions: Tensor) -> Tensor:
    """The mean of the features over the region of each pixel, [B, C, H, W]; zeros in region 0.

    features [B, C, H, W]; regions: integers [B, H, W] from 0.
    """
    batch, channels, height, width = features.shape
    count = int(regions.max()) + 1
    indices = (regions.long() + count * torch.arange(batch, device=regions.device)[:, None, None]).flatten()
    pixels = features.movedim(1, -1).reshape(-1, channels)
    sums = pixels.new_zeros(batch * count, channels).index_add(0, indices, pixels)
    areas = pixels.new_zeros(batch * count).index_add(0, indices, torch.ones_like(pixels[:, 0]))
    not_region_0 = torch.arange(batch * count, device=indices.device) % count > 0
    means = sums / areas.clamp(min=1)[:, None] * not_region_0[:, None]
    return means[indices].view(batch, height, width, channels).movedim(-1, 1)
