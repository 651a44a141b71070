"""MonkeyNet, reimplemented (Siarohin et al., "Animating arbitrary objects via deep motion transfer", CVPR 2019).

From the difference of the joints' heat maps a network predicts with which joints each pixel moves. The resulting dense flow deforms the
features of the source image at every level of an encoder, and a decoder makes the frame (sections 3.2 and 3.3).

Different from the original: the joints are given, not learned, so there is no keypoint detector. Layers, losses and schedule are those of
the other methods of the table; the losses for a warped example also supervise this flow.
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

from .animator import Animator
from .joints import joint_positions


class MonkeyNet(Animator):
    """The dense motion network at 1 / flow_stride of the size, and an encoder and decoder with deformed features in between."""

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
        flow = self.flow(image, change, shifts(joint_positions(source), joint_positions(driving)))
        warped = Warped(warp(image, flow), flow, torch.zeros_like(flow[:, :1]))
        deformed = [warp(features, _resize_flow(flow, features)) for features in self.encoder(image)]
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
        """The backward flow [B, 2, H, W] in pixels: for each pixel a weighted mean of the joints' shifts, plus a residual (eq. 7 and 8).

        image [B, 3, H, W]; change: difference of the heat maps [B, N, H, W]; shift: of each joint, [B, N, 2] in pixels.
        """
        size, stride = image.shape[-2:], self.config.flow_stride
        small, change = (F.avg_pool2d(x, stride) if stride > 1 else x for x in (image, change))
        candidates = [_shift_image(small, shift[:, joint] / stride) for joint in range(shift.shape[1])]
        features = self.motion(torch.cat([change, small, *candidates], 1))[0]
        masks = self.to_masks(features).float().softmax(1)[:, :-1]  # the last mask is that of the background, which does not move
        coarse = (masks[:, :, None] * shift[..., None, None]).sum(1)
        flow = coarse + self.to_residual(features).float() * (FLOW_UNIT * size[0])
        return F.interpolate(flow, size=size, mode="bilinear", align_corners=False) if stride > 1 else flow


def shifts(source: tuple[Tensor, Tensor], driving: tuple[Tensor, Tensor]) -> Tensor:
    """Position of each joint in the example minus that in the frame, [B, N, 2] in pixels; 0 for a joint that is missing in one of them."""
    present = (source[1] & driving[1])[..., None]
    return torch.where(present, source[0] - driving[0], 0)


def _shift_image(image: Tensor, shift: Tensor) -> Tensor:
    """An image [B, C, H, W] warped by the same backward flow at every pixel, `shift` [B, 2]."""
    return warp(image, shift[..., None, None].expand(-1, -1, *image.shape[-2:]))


def _resize_flow(flow: Tensor, features: Tensor) -> Tensor:
    """A flow of images resized to features, in pixels of the features."""
    height, width = features.shape[-2:]
    return F.adaptive_avg_pool2d(flow, (height, width)) * (height / flow.shape[-2])
