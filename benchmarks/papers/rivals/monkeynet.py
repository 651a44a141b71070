"""The idea of MonkeyNet (Siarohin et al., "Animating arbitrary objects via deep motion transfer", CVPR 2019).

From the difference of the joints' heat maps a network says which joint each pixel moves with; that is a dense flow, which deforms the
features of the still image at every level of an encoder, and a decoder makes the frame of them (sections 3.2 and 3.3 there).

Different from the original: the joints are those that drive every method here, not learned ones, so there is no keypoint detector; layers,
losses and schedule are those of the method it is compared with, whose terms for a warped example teach this flow, too.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stages.conditions.poses import NAMES
from stages.flow.warp import warp
from stages.networks.common.frame import Warped
from stages.networks.common.layers import Encoder, UNet, activate, conv, initialise_small, upsample
from stages.networks.fewshot.config import FewShotConfig
from stages.networks.fewshot.flow import FLOW_UNIT

from .joints import places
from .still import Still


class MonkeyNet(Still):
    """The dense motion network at 1 / flow_stride of the size, and an encoder and decoder with deformed features between them."""

    def __init__(self, config: FewShotConfig) -> None:
        super().__init__(config)
        c, joints = config, len(NAMES)
        self.motion = UNet(4 * joints + 3, c.flow_channels)
        self.to_masks = initialise_small(conv(c.flow_channels[0], joints + 1))
        self.to_residual = initialise_small(conv(c.flow_channels[0], 2))
        self.encoder = Encoder(3, c.channels)
        self.mix = conv(c.channels[-1] + joints, c.channels[-1])
        pairs = list(zip(c.channels, c.channels[1:], strict=False))
        self.up = nn.ModuleList(conv(b + a, a) for a, b in pairs)
        self.refine = nn.ModuleList(nn.ModuleList([conv(a, a), conv(a, a)]) for a, _ in pairs)
        self.to_image = initialise_small(conv(c.channels[0], 3))

    def move_image(self, image: Tensor, source: Tensor, driving: Tensor) -> tuple[Tensor, Warped | None]:
        change = driving - source  # section 3.2: the difference of the heat maps
        flow = self.flow(image, change, shifts(places(source), places(driving)))
        warped = Warped(warp(image, flow), flow, torch.zeros_like(flow[:, :1]))
        deformed = [warp(features, _at(flow, features)) for features in self.encoder(image)]
        height, width = deformed[-1].shape[-2:]
        x = activate(self.mix(torch.cat([deformed[-1], F.adaptive_avg_pool2d(change, (height, width))], 1)))
        for level in reversed(range(len(self.up))):
            x = self.up[level](torch.cat([upsample(x), deformed[level]], 1))
            block = self.refine[level]
            assert isinstance(block, nn.ModuleList)
            for layer in block:
                x = x + layer(activate(x))
        return torch.tanh(self.to_image(activate(x)).float()), warped

    def flow(self, image: Tensor, change: Tensor, shift: Tensor) -> Tensor:
        """The backward flow [B, 2, H, W] in pixels: each pixel's mean of the joints' shifts, and a residual (eq. 7 and 8 there).

        image [B, 3, H, W], change [B, N, H, W], shift [B, N, 2].
        """
        size, stride = image.shape[-2:], self.config.flow_stride
        small, change = (F.avg_pool2d(x, stride) if stride > 1 else x for x in (image, change))
        seen = [_moved(small, shift[:, joint] / stride) for joint in range(shift.shape[1])]
        features = self.motion(torch.cat([change, small, *seen], 1))[0]
        masks = self.to_masks(features).float().softmax(1)[:, :-1]  # the last one stands still
        coarse = (masks[:, :, None] * shift[..., None, None]).sum(1)
        flow = coarse + self.to_residual(features).float() * (FLOW_UNIT * size[0])
        return F.interpolate(flow, size=size, mode="bilinear", align_corners=False) if stride > 1 else flow


def shifts(source: tuple[Tensor, Tensor], driving: tuple[Tensor, Tensor]) -> Tensor:
    """By how much each joint's place in the example differs from that in the frame, [B, N, 2] in pixels; 0 where one is not there."""
    both = (source[1] & driving[1])[..., None]
    return torch.where(both, source[0] - driving[0], 0)


def _moved(image: Tensor, shift: Tensor) -> Tensor:
    """The whole image [B, C, H, W] moved by one shift [B, 2]."""
    return warp(image, shift[..., None, None].expand(-1, -1, *image.shape[-2:]))


def _at(flow: Tensor, features: Tensor) -> Tensor:
    """A flow in pixels of the image as one of smaller features."""
    height, width = features.shape[-2:]
    return F.adaptive_avg_pool2d(flow, (height, width)) * (height / flow.shape[-2])
