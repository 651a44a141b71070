"""What training minimises for one frame: losses of generator and discriminators (vid2vid eq. 5 to 8; few-shot vid2vid, section 3)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from stages.flow.warp import warp
from stages.networks.common import losses
from stages.networks.common.config import GeneratorConfig
from stages.networks.common.discriminator import MultiScaleDiscriminator
from stages.networks.common.discriminator_inputs import Past, boxes_of, crop_region, windows
from stages.networks.common.frame import Frame
from stages.networks.common.generator import Synthesis

FOCUS_ROOM = 1.3
"""Side of the region that the term `focus` sees, in units of its keypoints' box."""
PerceptualDistance = Callable[[Tensor, Tensor], Tensor]
"""Two images [B, 3, H, W] in [-1, 1] -> distance [B], differentiable in the first."""


@dataclass(frozen=True)
class LossWeights:
    """How much each term counts. A weight of 0 leaves the term out."""

    l1: float = 5.0
    labels: float = 0.0
    """Cross-entropy of label maps."""
    perceptual: float = 1.0
    focus: float = 0.0
    """The perceptual distance of a region alone, enlarged or reduced to half the image's size."""
    focus_points: tuple[int, ...] = ()
    """The keypoints around which that region lies."""
    raw: float = 2.5
    """L1 of h_t alone: without it the mask would soon trust every warp, and H, never asked, would not learn."""
    warp: float = 2.0
    keypoint: float = 1.0
    mask: float = 0.2
    flow: float = 1.0
    """Of the previous frame's flow."""
    example_flow: float = 0.0
    """Of the example's, as in the papers' code; it changed nothing in 450 steps of the shipped face model, which goes without."""
    attention: float = 0.1
    """With K > 1, attention to the example whose keypoints are nearest. The choice of e_1 itself has no gradient."""
    gan: float = 0.05
    feature_matching: float = 1.0
    temporal: float = 0.0
    """L1 to the frame made before, moved by the teacher's flow, where it can be trusted."""
    video_gan: float = 0.02
    region_gan: float = 0.05


@dataclass(frozen=True)
class Target:
    """The truth about one frame of a window. The teacher's flow is None in a window's first frame."""

    frame: Frame
    """[B, ...] with its true image."""
    examples: Frame
    """All K, [B, K, ...]."""
    flow: Tensor | None = None
    flow_confidence: Tensor | None = None
    example_flows: Tensor | None = None
    """The teacher's, to each of the examples, [B, K, 2, H, W]; K is 0 where it is not asked."""
    example_confidence: Tensor | None = None
    odd: Tensor | None = None
    """bool [B]: samples whose h_t the perceptual loss sees, in place of their frame. None: every second one."""

    @property
    def image(self) -> Tensor:
        """The true image, [B, 3, H, W]."""
        return self.frame.required_image


@dataclass(frozen=True)
class DiscriminatorConfig:
    """Which discriminators there are, and how they argue."""

    filters: int = 32
    layers: int = 4
    scales: int = 1
    gan: losses.Gan = "hinge"
    video_frames: int = 2
    """K of D_V: so many frames it sees at a time."""
    video_rates: int = 1
    """At so many frame rates, each half the one before."""
    regions: tuple[tuple[int, ...], ...] = ()
    """Keypoints around each of which a discriminator of its own looks more closely, for example those of the face of a body."""
    sees_raw: bool = False
    """D_I judges h_t as well as the frame, as in the public code of vid2vid."""

    @property
    def span(self) -> int:
        """The number of frames that the slowest D_V sees before the present one."""
        return (self.video_frames - 1) * 2 ** (self.video_rates - 1) if self.video_rates else 0


class Discriminators(nn.Module):
    """D_I, conditioned on the semantic image and, in a few-shot family, an example; D_V on windows and their flow; one for each region."""

    def __init__(self, config: GeneratorConfig, settings: DiscriminatorConfig | None = None) -> None:
        super().__init__()
        self.settings = p = settings or DiscriminatorConfig()
        self.sees_example = config.few_shot
        channels = 3 + config.semantic_channels + 3 * self.sees_example
        window = 3 * p.video_frames + 2 * (p.video_frames - 1)
        self.image = MultiScaleDiscriminator(channels, p.filters, p.layers, p.scales)
        self.videos = nn.ModuleList(MultiScaleDiscriminator(window, p.filters, p.layers, p.scales) for _ in range(p.video_rates))
        self.regions = nn.ModuleList(MultiScaleDiscriminator(channels, p.filters, p.layers - 1) for _ in p.regions)
        self.region_side = min(config.size) // 4
        self.recomputes = False
        """Whether what the generator is told is computed again for its gradients, to save memory."""

    def loss(self, target: Target, fake: Tensor, past: Past, raw: Tensor | None = None) -> Tensor:
        """The discriminators' own loss; `fake`, and h_t as `raw`, carry no gradient to the generator."""
        gan = self.settings.gan
        real = self.image(self._conditioned(target, target.image))
        judged = [self.image(self._conditioned(target, image)) for image in self._judged(fake, raw)]
        total = torch.stack([losses.discriminator_loss(real, output, gan) for output in judged]).mean()
        for rate, real, made in self._windows(target, fake, past):
            total = total + losses.discriminator_loss(self.videos[rate](real), self.videos[rate](made), gan)
        for discriminator, real, made in self._regions(target, fake):
            total = total + losses.discriminator_loss(discriminator(real), discriminator(made), gan)
        return total

    def penalty(self, target: Target) -> Tensor:
        """R1: the squared gradient of D_I's output on real images (Mescheder et al. 2018), a mean over the batch."""
        image = target.image.detach().float().requires_grad_(True)
        output = torch.stack([scale[-1].float().mean((1, 2, 3)) for scale in self.image(self._conditioned(target, image))]).mean(0)
        (gradient,) = torch.autograd.grad(output.sum(), image, create_graph=True)
        return gradient.square().sum((1, 2, 3)).mean()

    def generator_terms(self, target: Target, fake: Tensor, past: Past, raw: Tensor | None = None) -> dict[str, Tensor]:
        """What the generator is told: gan, feature_matching, and where there are such discriminators video_gan and region_gan."""
        if self.recomputes:
            terms: dict[str, Tensor] = checkpoint(self._generator_terms, target, fake, past, raw, use_reentrant=False)
            return terms
        return self._generator_terms(target, fake, past, raw)

    def _generator_terms(self, target: Target, fake: Tensor, past: Past, raw: Tensor | None) -> dict[str, Tensor]:
        gan = self.settings.gan
        judged = [self.image(self._conditioned(target, image)) for image in self._judged(fake, raw)]
        with torch.no_grad():
            real = self.image(self._conditioned(target, target.image))
        terms = {
            "gan": torch.stack([losses.generator_loss(output, gan) for output in judged]).mean(),
            "feature_matching": torch.stack([losses.feature_matching(real, output) for output in judged]).mean(),
        }
        if windows := self._windows(target, fake, past):
            terms["video_gan"] = torch.stack([losses.generator_loss(self.videos[rate](made), gan) for rate, _, made in windows]).mean()
        if regions := self._regions(target, fake):
            terms["region_gan"] = torch.stack(
                [losses.generator_loss(discriminator(made), gan) for discriminator, _, made in regions]
            ).mean()
        return terms

    def _judged(self, fake: Tensor, raw: Tensor | None) -> list[Tensor]:
        return [fake, raw] if self.settings.sees_raw and raw is not None else [fake]

    def _conditioned(self, target: Target, image: Tensor) -> Tensor:
        example = [target.examples.required_image[:, 0]] if self.sees_example else []
        return torch.cat([target.frame.semantic, *example, image], 1)

    def _windows(self, target: Target, fake: Tensor, past: Past) -> list[tuple[int, Tensor, Tensor]]:
        if target.flow is None:
            return []
        with_target = past._replace(flows=[*past.flows, target.flow])
        return windows(with_target, target.image, fake, self.settings.video_frames, self.settings.video_rates)

    def _regions(self, target: Target, fake: Tensor) -> list[tuple[nn.Module, Tensor, Tensor]]:
        """(discriminator, real crop, fake crop) of each region, for the samples that show it."""
        found = []
        for discriminator, points in zip(self.regions, self.settings.regions, strict=True):
            boxes, there = boxes_of(target.frame.keypoints, points, *fake.shape[-2:])
            if there.any():
                pair = [self._conditioned(target, image)[there] for image in (target.image, fake)]
                real, made = (crop_region(image, boxes[there], self.region_side) for image in pair)
                found.append((discriminator, real, made))
        return found


Objective = Callable[[Synthesis, Target, LossWeights, "PerceptualDistance | None", "Discriminators | None", Past], dict[str, Tensor]]
"""Each weighted term of the generator's objective for one frame; see `generator_losses`."""


def generator_losses(
    synthesis: Synthesis,
    target: Target,
    weights: LossWeights,
    perceptual: PerceptualDistance | None,
    discriminators: Discriminators | None,
    past: Past,
) -> dict[str, Tensor]:
    """Each weighted term of the generator's objective for one frame; their sum is minimised."""
    truth, frame = target.image, synthesis.frame
    terms = {"l1": F.l1_loss(frame, truth), "raw": F.l1_loss(synthesis.raw, truth)}
    if perceptual is not None:
        odd = torch.arange(len(frame), device=frame.device) % 2 == 1 if target.odd is None else target.odd
        either = torch.where(odd[:, None, None, None], synthesis.raw, frame)  # both at the price of one
        terms["perceptual"] = perceptual(either, truth).mean()
        if weights.focus:
            boxes, there = boxes_of(target.frame.keypoints, weights.focus_points, frame.shape[-2], frame.shape[-1], FOCUS_ROOM)
            if there.any():
                seen, true = (crop_region(image[there], boxes[there], min(frame.shape[-2:]) // 2) for image in (either, truth))
                terms["focus"] = perceptual(seen, true).mean()
    terms |= _example_terms(synthesis, target)
    if synthesis.shares is not None and synthesis.shares.shape[1] > 1 and target.frame.keypoints.shape[1]:
        terms["attention"] = losses.attention_loss(synthesis.shares, target.frame.keypoints, target.examples.keypoints)
    if synthesis.previous is not None and target.flow is not None and target.flow_confidence is not None:
        carried = warp(past.real[-1], synthesis.previous.flow)  # the real frame: W is not to blame for what was made
        terms["warp"] = terms.get("warp", 0) + F.l1_loss(carried, truth)  # second term of eq. 8
        terms["flow"] = losses.flow_loss(synthesis.previous.flow, target.flow, target.flow_confidence)
        if synthesis.previous_mask is not None:
            terms["mask"] = terms.get("mask", 0) + losses.mask_loss(synthesis.previous_mask, synthesis.previous.image, truth)
    if weights.temporal and target.flow is not None and target.flow_confidence is not None:
        moved = warp(past.fake[-1], target.flow)
        terms["temporal"] = ((frame - moved).abs() * target.flow_confidence).mean()
    if discriminators is not None:
        terms |= discriminators.generator_terms(target, frame, past, synthesis.raw)
    return {name: value * getattr(weights, name) for name, value in terms.items() if getattr(weights, name)}


def _example_terms(synthesis: Synthesis, target: Target) -> dict[str, Tensor]:
    """How well the chosen example was warped, whether as the teacher would, and whether its mask knows, where there is one."""
    warped, mask = synthesis.example, synthesis.example_mask
    if warped is None or synthesis.best is None:
        return {}
    chosen = torch.arange(len(warped.image), device=warped.image.device), synthesis.best
    terms = {"warp": F.l1_loss(warped.image, target.image)}
    if warped.flows is None:
        own = target.examples.keypoints[chosen]
        terms["keypoint"] = losses.keypoint_flow_loss(warped.flow, target.frame.keypoints, own)
    else:
        count = warped.flows.shape[1]
        driving = target.frame.keypoints.repeat_interleave(count, 0)
        terms["keypoint"] = losses.keypoint_flow_loss(warped.flows.flatten(0, 1), driving, target.examples.keypoints.flatten(0, 1))
    if target.example_flows is not None and target.example_confidence is not None and target.example_flows.shape[1]:
        flow = warped.flow if warped.flows is None else warped.flows[chosen]
        terms["example_flow"] = losses.flow_loss(flow, target.example_flows[chosen], target.example_confidence[chosen])
    return terms if mask is None else {**terms, "mask": losses.mask_loss(mask, warped.image, target.image)}
