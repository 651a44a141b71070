"""What training minimises: one frame of a window, both players (vid2vid eq. 5 to 8; few-shot vid2vid, section 3, training)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stages.networks import losses
from stages.networks.config import GeneratorConfig
from stages.networks.discriminator import MultiScaleDiscriminator, video_window
from stages.networks.generator import Synthesis

PerceptualDistance = Callable[[Tensor, Tensor], Tensor]
"""Two pictures [B, 3, H, W] in [-1, 1] -> distance [B], differentiable in the first."""


@dataclass(frozen=True)
class LossWeights:
    """How much each term counts. A weight of 0 leaves the term out."""

    l1: float = 5.0
    perceptual: float = 1.0
    raw: float = 2.5
    """L1 of h_t alone: without it the mask would soon trust every warp, and H, never asked, would not learn."""
    warp: float = 2.0
    keypoint: float = 1.0
    mask: float = 0.2
    flow: float = 1.0
    attention: float = 0.1
    """With K > 1, attention to the example whose keypoints are nearest. The choice of e_1 itself has no gradient."""
    gan: float = 0.05
    feature_matching: float = 1.0
    video_gan: float = 0.02


@dataclass(frozen=True)
class Target:
    """The truth about one frame of a window. previous_* and the teacher's flow are None in a window's first frame."""

    image: Tensor
    semantic: Tensor
    example_image: Tensor
    keypoints: Tensor
    example_keypoints: Tensor
    """Of all K examples, [B, K, N, 3]."""
    previous_image: Tensor | None = None
    flow: Tensor | None = None
    flow_confidence: Tensor | None = None


class Discriminators(nn.Module):
    """D_I, conditioned on the semantic image and the example, and D_V on two frames and the flow between them."""

    def __init__(self, config: GeneratorConfig, filters: int = 32, layers: int = 4, scales: int = 1) -> None:
        super().__init__()
        self.image = MultiScaleDiscriminator(6 + config.semantic_channels, filters, layers, scales)
        self.video = MultiScaleDiscriminator(2 * 3 + 2, filters, layers, scales)

    def loss(self, target: Target, fake: Tensor, fake_previous: Tensor | None) -> Tensor:
        """The discriminators' own loss; `fake` carries no gradient to the generator."""
        total = losses.hinge_real_fake(self.image(_conditioned(target, target.image)), self.image(_conditioned(target, fake)))
        if fake_previous is not None and target.previous_image is not None and target.flow is not None:
            real = video_window([target.previous_image, target.image], [target.flow])
            total = total + losses.hinge_real_fake(self.video(real), self.video(video_window([fake_previous, fake], [target.flow])))
        return total


def generator_losses(
    synthesis: Synthesis,
    target: Target,
    weights: LossWeights,
    perceptual: PerceptualDistance | None,
    discriminators: Discriminators | None,
    fake_previous: Tensor | None,
) -> dict[str, Tensor]:
    """Each weighted term of the generator's objective for one frame; their sum is minimised."""
    truth, frame = target.image, synthesis.frame
    terms = {"l1": F.l1_loss(frame, truth), "raw": F.l1_loss(synthesis.raw, truth)}
    if perceptual is not None:
        halves = torch.cat([frame[::2], synthesis.raw[1::2]]), torch.cat([truth[::2], truth[1::2]])  # frame and h_t at the price of one
        terms["perceptual"] = perceptual(*halves).mean()
    terms["warp"] = F.l1_loss(synthesis.example.image, truth)
    terms["mask"] = losses.mask_loss(synthesis.example_mask, synthesis.example.image, truth)
    warped_keypoints = target.example_keypoints[torch.arange(len(frame), device=frame.device), synthesis.best]
    terms["keypoint"] = losses.keypoint_flow_loss(synthesis.example.flow, target.keypoints, warped_keypoints)
    if synthesis.shares.shape[1] > 1 and target.keypoints.shape[1]:
        terms["attention"] = losses.attention_loss(synthesis.shares, target.keypoints, target.example_keypoints)
    if synthesis.previous is not None and target.flow is not None and target.flow_confidence is not None:
        terms["warp"] = terms["warp"] + F.l1_loss(synthesis.previous.image, truth)  # second term of eq. 8
        terms["flow"] = losses.flow_loss(synthesis.previous.flow, target.flow, target.flow_confidence)
        if synthesis.previous_mask is not None:
            terms["mask"] = terms["mask"] + losses.mask_loss(synthesis.previous_mask, synthesis.previous.image, truth)
    if discriminators is not None:
        terms |= _adversarial(discriminators, target, frame, fake_previous)
    return {name: value * getattr(weights, name) for name, value in terms.items() if getattr(weights, name)}


def _adversarial(players: Discriminators, target: Target, fake: Tensor, fake_previous: Tensor | None) -> dict[str, Tensor]:
    verdict = players.image(_conditioned(target, fake))
    with torch.no_grad():
        real = players.image(_conditioned(target, target.image))
    terms = {"gan": losses.hinge_generator(verdict), "feature_matching": losses.feature_matching(real, verdict)}
    if fake_previous is not None and target.flow is not None:
        terms["video_gan"] = losses.hinge_generator(players.video(video_window([fake_previous, fake], [target.flow])))
    return terms


def _conditioned(target: Target, image: Tensor) -> Tensor:
    return torch.cat([target.semantic, target.example_image, image], 1)
