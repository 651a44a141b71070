"""COVST (Chen et al., "Coherent online video style transfer", ICCV 2017) with pix2pixHD as the stylizer, as in vid2vid's comparison.

The stylizer is trained on single frames and then fixed. It is split after its residual blocks into an encoder E and a decoder D. The
composed features of the previous frame are warped by the optical flow, w_t. A small network m compares the warped features with those of
the present frame and predicts where to use the warped ones; the decoder makes the frame (section 3):

    F_t = E(s_t),  F'_t = w_t(Fo_{t-1}),  M = m(|F_t - F'_t|),  Fo_t = (1 - M) F_t + M F'_t,  O_t = D(Fo_t);  Fo_1 = F_1

Only m is trained, with the two terms of section 3.3: where the flow is reliable, the frame should equal the warped previous frame, and
elsewhere the stylizer's own frame. There is no discriminator. Different from the original: the flow is given instead of learned, as in
vid2vid's comparison.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from stages.flow.warp import warp
from stages.networks.common.discriminator_inputs import History
from stages.networks.common.frame import Frame
from stages.networks.common.generator import Synthesis
from stages.networks.common.objective import Discriminators, LossWeights, PerceptualDistance, Target
from stages.networks.common.residual import half_size, initialise
from stages.networks.pix2pixhd.config import Pix2PixHDConfig
from stages.networks.pix2pixhd.generator import Pix2PixHD

from .labels_and_flow import FLOW_CHANNELS, split_flow

COHERENCE, FIDELITY = 5.0, 1.0
"""Weights of the two terms, in the ratio of the paper, 1e5 to 2e4."""


@dataclass(frozen=True)
class CovstConfig(Pix2PixHDConfig):
    """A pix2pixHD without enhancers. `semantic_channels` includes the flow."""

    family: ClassVar[str] = "covst"

    kind: str = "segment+flow"
    mask_filters: int = 16
    """Channels of the first layer of the mask network; the second has twice as many."""


@dataclass(frozen=True)
class Past(Frame):
    """The previous frame with its composed features Fo, [B, C, h, w]."""

    features: Tensor | None = None

    def map(self, change: Callable[[Tensor], Tensor]) -> Past:
        return Past(**vars(super().map(change)), features=None if self.features is None else change(self.features))


class Covst(Pix2PixHD):
    """Makes each frame from its label map, the flow to the previous frame, and the composed features of the previous frame."""

    def __init__(self, config: CovstConfig) -> None:
        if config.enhancers:
            raise ValueError("COVST splits the global network of pix2pixHD and cannot have enhancers")
        super().__init__(replace(config, semantic_channels=config.semantic_channels - FLOW_CHANNELS))
        self.config = config
        self.requires_grad_(False)
        self.split_index = len(self.coarse) - 3 * config.downs  # the decoder has a layer, a norm and a ReLU for each doubling
        widths = [config.filters * 2**config.downs, config.mask_filters, 2 * config.mask_filters]
        hidden = [layer for a, b in zip(widths, widths[1:], strict=False) for layer in (nn.Conv2d(a, b, 3, 1, 1), nn.ReLU())]
        self.mask = nn.Sequential(*hidden, nn.Conv2d(widths[-1], 1, 3, 1, 1)).apply(initialise)

    def encode(self, labels: Tensor) -> Tensor:
        """Label maps [B, S, H, W] -> features [B, C, H / 2^downs, W / 2^downs]."""
        for layer in list(self.coarse)[: self.split_index]:
            labels = layer(labels)
        return labels

    def decode(self, features: Tensor) -> Tensor:
        """Features -> images [B, 3, H, W] in [-1, 1]."""
        for layer in list(self.coarse)[self.split_index :]:
            features = layer(features)
        return torch.tanh(self.to_image(features).float())

    def synthesize(self, code: object, driving: Frame, past: Frame | None = None) -> Synthesis:
        labels, flow = split_flow(driving.semantic)
        features = self.encode(labels)
        raw = self.decode(features)
        if past is None:
            return Synthesis(raw, raw, state=(features,))
        before = past.features if isinstance(past, Past) else None
        if before is None:
            before = self.encode(split_flow(past.semantic)[0])
        warped = warp(before, self.shrink_flow(flow)).to(features.dtype)
        mask = torch.sigmoid(self.mask((features - warped).abs()))
        composed = torch.lerp(features, warped, mask)
        return Synthesis(self.decode(composed), raw, state=(composed,))

    def shrink_flow(self, flow: Tensor) -> Tensor:
        """Resize a flow of images to the features, in pixels of the features.

        Each halving averages 3x3 pixels, around the positions of the encoder's strided convolutions.
        """
        for _ in range(self.config.downs):
            flow = half_size(flow)
        return flow.float() / 2**self.config.downs

    def remember(self, driving: Frame, made: Synthesis, past: Frame | None) -> Past:
        features = made.state[0] if made.state else None
        return Past(driving.semantic, driving.keypoints, made.frame, features=features)


def covst_losses(
    synthesis: Synthesis,
    target: Target,
    weights: LossWeights,
    perceptual: PerceptualDistance | None,
    discriminators: Discriminators | None,
    past: History,
) -> dict[str, Tensor]:
    """The terms of section 3.3 for one frame. In the first frame of a window, which has no flow, there is nothing to learn."""
    error = (synthesis.frame - synthesis.raw).square()
    if target.flow is None or target.flow_confidence is None:
        return {"fidelity": FIDELITY * error.mean()}
    warped = warp(past.fake[-1], target.flow)
    coherence = (synthesis.frame - warped).square() * target.flow_confidence
    return {"coherence": COHERENCE * coherence.mean(), "fidelity": FIDELITY * (error * (1 - target.flow_confidence)).mean()}
