"""The objectives of generator and discriminators for one frame (vid2vid, eq. 5 to 8; few-shot vid2vid, section 3)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stages.flow.warp import warp
from stages.networks.common import losses
from stages.networks.common.config import GeneratorConfig
from stages.networks.common.discriminator import MultiScaleDiscriminator, Outputs
from stages.networks.common.discriminator_inputs import History, crop_region, square_boxes, windows
from stages.networks.common.frame import Frame
from stages.networks.common.generator import Synthesis
from stages.networks.common.recomputing import Recomputing

FOCUS_MARGIN = 1.3
"""Side of the region of the term `focus`, as a multiple of the side of the box around its keypoints."""
PerceptualDistance = Callable[[Tensor, Tensor], Tensor]
"""Two images [B, 3, H, W] in [-1, 1] -> distance [B], differentiable in the first."""


@dataclass(frozen=True)
class LossWeights:
    """The weights of the terms. A term with weight 0 is left out."""

    l1: float = 5.0
    """L1 of the frame."""
    labels: float = 0.0
    """Cross-entropy of label maps."""
    perceptual: float = 1.0
    """Perceptual distance of the frame, or of h_t (`Target.perceptual_on_raw`)."""
    focus: float = 0.0
    """The perceptual distance of one square region, resized to half the shorter side of the image."""
    focus_points: tuple[int, ...] = ()
    """The keypoints around which this region lies."""
    raw: float = 2.5
    """L1 of h_t. Without this term the mask soon uses the warp everywhere, and H gets no gradient."""
    warp: float = 2.0
    """L1 of the warped example, and of the previous real frame warped by the predicted flow."""
    keypoint: float = 1.0
    """L1 of the example's flow at the keypoints (`losses.keypoint_flow_loss`)."""
    mask: float = 0.2
    """Pushes the masks to use the warp where it is right (`losses.mask_loss`)."""
    mask_tolerance: float = 0.2
    """The tolerance of the term `mask`. With a small one, h_t replaces warps that are sharp but off by a few pixels."""
    flow: float = 1.0
    """Supervision of the previous frame's flow by a flow estimator, the teacher."""
    example_flow: float = 0.0
    """The same for the example's flow, as in the public code. It changed nothing in 450 steps of the shipped face model."""
    attention: float = 0.1
    """With K > 1, pushes the attention to the example whose keypoints are nearest, because the choice of e_1 has no gradient."""
    gan: float = 0.05
    """Adversarial loss of D_I."""
    feature_matching: float = 1.0
    """L1 between features of D_I for real and generated frames."""
    temporal: float = 0.0
    """L1 to the previous generated frame, warped by the teacher's flow and weighted by its confidence."""
    video_gan: float = 0.02
    """Adversarial loss of the video discriminators D_V."""
    region_gan: float = 0.05
    """Adversarial loss of the discriminators of regions."""


@dataclass(frozen=True)
class Target:
    """The ground truth for one frame of a window."""

    frame: Frame
    """[B, ...] with the true image."""
    examples: Frame
    """All K examples, [B, K, ...]."""
    flow: Tensor | None = None
    """The teacher's backward flow to the previous frame, [B, 2, H, W] in pixels; None for the first frame of a window."""
    flow_confidence: Tensor | None = None
    """The confidence of `flow`, [B, 1, H, W] in [0, 1]."""
    example_flows: Tensor | None = None
    """The teacher's flows to the examples, [B, K, 2, H, W]; K is 0 if the term `example_flow` is not used."""
    example_confidence: Tensor | None = None
    """The confidence of `example_flows`, [B, K, 1, H, W]."""
    perceptual_on_raw: Tensor | None = None
    """bool [B]: the samples for which the perceptual loss compares h_t and not the frame. None: every second sample."""

    @property
    def image(self) -> Tensor:
        """The true image, [B, 3, H, W]."""
        return self.frame.required_image


@dataclass(frozen=True)
class DiscriminatorConfig:
    """The discriminators and their loss."""

    filters: int = 32
    """Channels of the first layer; each further layer doubles them, up to 16 times those of the first."""
    layers: int = 4
    """Number of layers before the output."""
    scales: int = 1
    """Number of image sizes; each is half the one before."""
    gan: losses.Gan = "hinge"
    """hinge loss, or lsgan: least squares."""
    video_frames: int = 2
    """K of D_V: the number of frames in a window."""
    video_rates: int = 1
    """Number of D_V; each sees half the frame rate of the one before."""
    regions: tuple[tuple[int, ...], ...] = ()
    """For each region the indices of its keypoints, for example those of the face of a body. Each region has a discriminator."""
    sees_raw: bool = False
    """Whether D_I sees h_t as a second fake image, as in the public code of vid2vid."""

    @property
    def span(self) -> int:
        """Number of past frames that the slowest D_V needs."""
        return (self.video_frames - 1) * 2 ** (self.video_rates - 1) if self.video_rates else 0


class Discriminators(Recomputing):
    """D_I for images and one discriminator for each region, conditioned on s_t and, in few-shot families, an example; D_V for windows."""

    def __init__(self, config: GeneratorConfig, settings: DiscriminatorConfig | None = None) -> None:
        super().__init__()
        self.settings = d = settings or DiscriminatorConfig()
        self.sees_example = config.few_shot
        channels = 3 + config.semantic_channels + 3 * self.sees_example
        window_channels = 3 * d.video_frames + 2 * (d.video_frames - 1)
        self.image = MultiScaleDiscriminator(channels, d.filters, d.layers, d.scales)
        videos = (MultiScaleDiscriminator(window_channels, d.filters, d.layers, d.scales) for _ in range(d.video_rates))
        self.videos = nn.ModuleList(videos)
        self.regions = nn.ModuleList(MultiScaleDiscriminator(channels, d.filters, d.layers - 1) for _ in d.regions)
        self.region_side = min(config.size) // 4

    def loss(self, target: Target, fake: Tensor, past: History, raw: Tensor | None = None) -> Tensor:
        """The sum of the losses of all discriminators. `fake`, and h_t as `raw`, must be detached from the generator."""
        gan = self.settings.gan
        real_output = self.run(self._classify, target, target.image)
        fake_outputs = [self.run(self._classify, target, image) for image in self._fake_images(fake, raw)]
        total = torch.stack([losses.discriminator_loss(real_output, output, gan) for output in fake_outputs]).mean()
        for rate, real_window, fake_window in self._windows(target, fake, past):
            total = total + losses.discriminator_loss(self.videos[rate](real_window), self.videos[rate](fake_window), gan)
        for discriminator, real_crop, fake_crop in self._regions(target, fake):
            total = total + losses.discriminator_loss(discriminator(real_crop), discriminator(fake_crop), gan)
        return total

    def penalty(self, target: Target) -> Tensor:
        """The R1 penalty (Mescheder et al. 2018): the squared norm of the gradient of D_I at real images, averaged over the batch."""
        image = target.image.detach().float().requires_grad_(True)
        output = torch.stack([scale[-1].float().mean((1, 2, 3)) for scale in self._classify(target, image)]).mean(0)
        (gradient,) = torch.autograd.grad(output.sum(), image, create_graph=True)
        return gradient.square().sum((1, 2, 3)).mean()

    def generator_terms(self, target: Target, fake: Tensor, past: History, raw: Tensor | None = None) -> dict[str, Tensor]:
        """The adversarial terms of the generator: gan and feature_matching; video_gan and region_gan if there are such discriminators."""
        terms: dict[str, Tensor] = self.run(self._generator_terms, target, fake, past, raw)
        return terms

    def _generator_terms(self, target: Target, fake: Tensor, past: History, raw: Tensor | None) -> dict[str, Tensor]:
        gan = self.settings.gan
        fake_outputs = [self.run(self._classify, target, image) for image in self._fake_images(fake, raw)]
        with torch.no_grad():
            real_output = self._classify(target, target.image)
        terms = {
            "gan": torch.stack([losses.generator_loss(output, gan) for output in fake_outputs]).mean(),
            "feature_matching": torch.stack([losses.feature_matching(real_output, output) for output in fake_outputs]).mean(),
        }
        if windows := self._windows(target, fake, past):
            terms["video_gan"] = torch.stack([losses.generator_loss(self.videos[rate](video), gan) for rate, _, video in windows]).mean()
        if regions := self._regions(target, fake):
            terms["region_gan"] = torch.stack(
                [losses.generator_loss(discriminator(crop), gan) for discriminator, _, crop in regions]
            ).mean()
        return terms

    def _fake_images(self, fake: Tensor, raw: Tensor | None) -> list[Tensor]:
        """The images that D_I sees as fake."""
        return [fake, raw] if self.settings.sees_raw and raw is not None else [fake]

    def _classify(self, target: Target, image: Tensor) -> Outputs:
        """The output of D_I for an image of `target`."""
        outputs: Outputs = self.image(self._condition(target, image))
        return outputs

    def _condition(self, target: Target, image: Tensor) -> Tensor:
        """The image with s_t and, in few-shot families, the first example as further channels."""
        example = [target.examples.required_image[:, 0]] if self.sees_example else []
        return torch.cat([target.frame.semantic, *example, image], 1)

    def _windows(self, target: Target, fake: Tensor, past: History) -> list[tuple[int, Tensor, Tensor]]:
        """(rate, real window, fake window) of each D_V for which the past is long enough."""
        if target.flow is None:
            return []
        with_target = past._replace(flows=[*past.flows, target.flow])
        return windows(with_target, target.image, fake, self.settings.video_frames, self.settings.video_rates)

    def _regions(self, target: Target, fake: Tensor) -> list[tuple[nn.Module, Tensor, Tensor]]:
        """(discriminator, real crop, fake crop) of each region, for the samples that show it."""
        crops = []
        for discriminator, points in zip(self.regions, self.settings.regions, strict=True):
            boxes, visible = square_boxes(target.frame.keypoints, points, *fake.shape[-2:])
            if visible.any():
                images = [self._condition(target, image)[visible] for image in (target.image, fake)]
                real_crop, fake_crop = (crop_region(image, boxes[visible], self.region_side) for image in images)
                crops.append((discriminator, real_crop, fake_crop))
        return crops


Objective = Callable[[Synthesis, Target, LossWeights, "PerceptualDistance | None", "Discriminators | None", History], dict[str, Tensor]]
"""Name -> weighted term of the generator's objective for one frame; see `generator_losses`."""


def generator_losses(
    synthesis: Synthesis,
    target: Target,
    weights: LossWeights,
    perceptual: PerceptualDistance | None,
    discriminators: Discriminators | None,
    past: History,
) -> dict[str, Tensor]:
    """Name -> weighted term of the generator's objective for one frame. Training minimises their sum."""
    truth, frame = target.image, synthesis.frame
    terms = {"l1": F.l1_loss(frame, truth), "raw": F.l1_loss(synthesis.raw, truth)}
    if perceptual is not None:
        on_raw = torch.arange(len(frame), device=frame.device) % 2 == 1 if target.perceptual_on_raw is None else target.perceptual_on_raw
        mixed = torch.where(on_raw[:, None, None, None], synthesis.raw, frame)  # h_t for some samples: both are trained at the cost of one
        terms["perceptual"] = perceptual(mixed, truth).mean()
        if weights.focus:
            boxes, visible = square_boxes(target.frame.keypoints, weights.focus_points, frame.shape[-2], frame.shape[-1], FOCUS_MARGIN)
            if visible.any():
                crop, true_crop = (crop_region(image[visible], boxes[visible], min(frame.shape[-2:]) // 2) for image in (mixed, truth))
                terms["focus"] = perceptual(crop, true_crop).mean()
    terms |= _example_terms(synthesis, target, weights.mask_tolerance)
    if synthesis.shares is not None and synthesis.shares.shape[1] > 1 and target.frame.keypoints.shape[1]:
        terms["attention"] = losses.attention_loss(synthesis.shares, target.frame.keypoints, target.examples.keypoints)
    if synthesis.previous is not None and target.flow is not None and target.flow_confidence is not None:
        warped_real = warp(past.real[-1], synthesis.previous.flow)  # of the real frame, so that errors of the generated one do not count
        terms["warp"] = terms.get("warp", 0) + F.l1_loss(warped_real, truth)  # second term of eq. 8
        terms["flow"] = losses.flow_loss(synthesis.previous.flow, target.flow, target.flow_confidence)
        if synthesis.previous_mask is not None:
            terms["mask"] = terms.get("mask", 0) + losses.mask_loss(
                synthesis.previous_mask, synthesis.previous.image, truth, weights.mask_tolerance
            )
    if weights.temporal and target.flow is not None and target.flow_confidence is not None:
        warped_fake = warp(past.fake[-1], target.flow)
        terms["temporal"] = ((frame - warped_fake).abs() * target.flow_confidence).mean()
    if discriminators is not None:
        terms |= discriminators.generator_terms(target, frame, past, synthesis.raw)
    return {name: value * getattr(weights, name) for name, value in terms.items() if getattr(weights, name)}


def _example_terms(synthesis: Synthesis, target: Target, mask_tolerance: float) -> dict[str, Tensor]:
    """The terms of the warped example: warp and keypoint; example_flow if the teacher's flows are given; mask if there is a mask."""
    warped, mask = synthesis.example, synthesis.example_mask
    if warped is None or synthesis.chosen_example is None:
        return {}
    chosen = torch.arange(len(warped.image), device=warped.image.device), synthesis.chosen_example
    terms = {"warp": F.l1_loss(warped.image, target.image)}
    if warped.flows is None:
        terms["keypoint"] = losses.keypoint_flow_loss(warped.flow, target.frame.keypoints, target.examples.keypoints[chosen])
    else:
        count = warped.flows.shape[1]
        driving = target.frame.keypoints.repeat_interleave(count, 0)
        terms["keypoint"] = losses.keypoint_flow_loss(warped.flows.flatten(0, 1), driving, target.examples.keypoints.flatten(0, 1))
    if target.example_flows is not None and target.example_confidence is not None and target.example_flows.shape[1]:
        flow = warped.flow if warped.flows is None else warped.flows[chosen]
        terms["example_flow"] = losses.flow_loss(flow, target.example_flows[chosen], target.example_confidence[chosen])
    return terms if mask is None else {**terms, "mask": losses.mask_loss(mask, warped.image, target.image, mask_tolerance)}
