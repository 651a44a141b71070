"""COVST (Chen et al., "Coherent online video style transfer", ICCV 2017) as vid2vid compares with it: pix2pixHD is the stylizer.

The stylizer is trained on single frames and stays as it is. It is cut behind its residual blocks into an encoder and a decoder. The
features of the frame before, already composed, are moved by the optical flow. A small network compares them with the features of the
present frame and says where they may replace them; the decoder makes the frame (section 3 there):

    F_t = E(s_t),  F'_t = w_t(Fo_{t-1}),  M = m(|F_t - F'_t|),  Fo_t = (1 - M) F_t + M F'_t,  O_t = D(Fo_t);  Fo_1 = F_1

Only m learns, by the two terms of section 3.3: where the flow can be trusted the frame must look like the frame before, moved; elsewhere
like what the stylizer makes of it alone. There is no discriminator. Different from the original: the flow is given instead of learned, as
in vid2vid's comparison.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from stages.flow.warp import warp
from stages.networks.common.discriminator_inputs import Past as History
from stages.networks.common.frame import Frame
from stages.networks.common.generator import Synthesis
from stages.networks.common.objective import Discriminators, LossWeights, PerceptualDistance, Target
from stages.networks.common.residual import half_size, initialise
from stages.networks.pix2pixhd.config import Pix2PixHDConfig
from stages.networks.pix2pixhd.generator import Pix2PixHD

from .labels_and_flow import FLOW_CHANNELS, split

COHERENCE, FIDELITY = 5.0, 1.0
"""Weights of the two terms: their ratio is that of the paper, 1e5 to 2e4."""


@dataclass(frozen=True)
class CovstConfig(Pix2PixHDConfig):
    """A pix2pixHD without enhancers. `semantic_channels` includes the flow."""

    family: ClassVar[str] = "covst"

    kind: str = "segment+flow"
    mask_filters: int = 16
    """Channels of the first layer of the mask network; the second has twice as many."""


@dataclass(frozen=True)
class Past(Frame):
    """The frame before with its composed features Fo, [B, C, h, w]."""

    features: Tensor | None = None

    def map(self, change: Callable[[Tensor], Tensor]) -> Past:
        return Past(**vars(super().map(change)), features=None if self.features is None else change(self.features))


class Covst(Pix2PixHD):
    """Each frame from its label map, the flow to the frame before, and the composed features of that frame."""

    def __init__(self, config: CovstConfig) -> None:
        if config.enhancers:
            raise ValueError("COVST cuts the global network of pix2pixHD: it has no enhancers")
        super().__init__(replace(config, semantic_channels=config.semantic_channels - FLOW_CHANNELS))
        self.config = config
        self.requires_grad_(False)
        self.cut = len(self.coarse) - 3 * config.downs  # a layer, a norm and a ReLU for each doubling
        widths = [config.filters * 2**config.downs, config.mask_filters, 2 * config.mask_filters]
        hidden = [layer for a, b in zip(widths, widths[1:], strict=False) for layer in (nn.Conv2d(a, b, 3, 1, 1), nn.ReLU())]
        self.mask = nn.Sequential(*hidden, nn.Conv2d(widths[-1], 1, 3, 1, 1)).apply(initialise)

    def encode(self, labels: Tensor) -> Tensor:
        """Label maps [B, S, H, W] -> features [B, C, H / 2^downs, W / 2^downs]."""
        for layer in list(self.coarse)[: self.cut]:
            labels = layer(labels)
        return labels

    def decode(self, features: Tensor) -> Tensor:
        """Features -> images [B, 3, H, W] in [-1, 1]."""
        for layer in list(self.coarse)[self.cut :]:
            features = layer(features)
        return torch.tanh(self.to_image(features).float())

    def synthesize(self, code: object, driving: Frame, past: Frame | None = None) -> Synthesis:
        labels, flow = split(driving.semantic)
        own = self.encode(labels)
        alone = self.decode(own)
        if past is None:
            return Synthesis(alone, alone, state=(own,))
        before = past.features if isinstance(past, Past) else None
        if before is None:
            before = self.encode(split(past.semantic)[0])
        moved = warp(before, self.shrunk(flow)).to(own.dtype)
        mask = torch.sigmoid(self.mask((own - moved).abs()))
        composed = torch.lerp(own, moved, mask)
        return Synthesis(self.decode(composed), alone, state=(composed,))

    def shrunk(self, flow: Tensor) -> Tensor:
        """A flow in pixels as one of the features: averages around the same centres as those of the encoder's convolutions."""
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
    """The terms of section 3.3 for one frame; without a frame before it there is nothing to learn."""
    error = (synthesis.frame - synthesis.raw).square()
    if target.flow is None or target.flow_confidence is None:
        return {"fidelity": FIDELITY * error.mean()}
    moved = warp(past.fake[-1], target.flow)
    coherence = (synthesis.frame - moved).square() * target.flow_confidence
    return {"coherence": COHERENCE * coherence.mean(), "fidelity": FIDELITY * (error * (1 - target.flow_confidence)).mean()}
