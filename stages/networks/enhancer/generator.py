"""A local enhancer: makes images of twice the size of those of a frozen few-shot generator, the base.

The base makes its frame from images of half the size. Its flow is enlarged and warps the examples at full size. A small network sees the
base's frame and the warped example, and corrects three things: the flow, by a residual flow of a few pixels; the enlarged frame, by a
residual image; and the mask between the enlarged frame and the warped example. Before training all three corrections are zero, and the
frame is that of the matting of `stages/synthesize/canvas.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stages.flow.warp import warp
from stages.networks.common.frame import Frame, Warped
from stages.networks.common.generator import Code, Generator, Synthesis
from stages.networks.common.inference import prepare
from stages.networks.common.layers import UNet, activate, conv
from stages.networks.common.matting import light_and_trust
from stages.networks.enhancer.config import EnhancerConfig

FACTOR = 2
"""Size of the images relative to those of the base."""
FLOW_UNIT = 0.01
"""The residual flow for an output of 1, in heights of the image."""
CERTAIN = 1e-3
"""The trust is clamped to [CERTAIN, 1 - CERTAIN] before its logit is corrected."""


@dataclass(frozen=True)
class EnhancerCode(Code):
    """The examples, and what the base made of them at half the size."""

    examples: Frame
    base: Any


class Enhancer(Generator):
    """`past` is that of the base: its own frames of half the size, so that errors of the enhancer do not add up."""

    config: EnhancerConfig

    def __init__(self, config: EnhancerConfig) -> None:
        super().__init__()
        self.config = c = config
        self._base: list[Generator] = []  # in a list, so that its weights are not parameters of this module
        pixels = FACTOR**2
        seen = c.semantic_channels + 3 + 3 + 2  # s_t, frame, change of light, mask and trust
        self.unet = UNet(seen + 3 * pixels, c.channels)
        self.to_flow = _initialise_zero(conv(c.channels[0], 2))
        self.merge = conv(c.channels[0] + 3 + 3 * pixels, c.detail_channels)
        self.blocks = nn.ModuleList(conv(c.detail_channels, c.detail_channels) for _ in range(2))
        self.to_detail = _initialise_zero(conv(c.detail_channels, (3 + 1) * pixels))

    def attach_base(self, base: Generator) -> None:
        """As `Generator.attach_base`. The base is kept in its fast form."""
        c, b = self.config, base.config
        if not (b.few_shot and b.warps_example):
            raise ValueError(f"an enhancer needs a few-shot model that warps examples, not one of the family {b.family}")
        if (b.kind, b.semantic_channels, tuple(FACTOR * side for side in b.size)) != (c.kind, c.semantic_channels, tuple(c.size)):
            raise ValueError(
                f"an enhancer for {c.kind} at {c.size[0]}x{c.size[1]} with {c.semantic_channels} channels does not fit a base for "
                f"{b.kind} at {b.size[0]}x{b.size[1]} with {b.semantic_channels}"
            )
        self._base = [prepare(base, torch.float32, channels_last=False)]

    @property
    def base(self) -> Generator:
        """The base, in evaluation mode and without gradients."""
        base = self._base[0] if self._base else None
        assert base is not None
        return base

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Enhancer:
        """The base moves to devices and precisions together with the enhancer."""
        for base in self._base:
            base._apply(fn, recurse)  # type: ignore[no-untyped-call]
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    @torch.no_grad()
    def encode_examples(self, examples: Frame | None) -> EnhancerCode:
        assert examples is not None
        return EnhancerCode(examples, self.base.encode_examples(_halve_frame(examples)))

    def select_examples(self, code: EnhancerCode, indices: Sequence[int]) -> EnhancerCode:
        chosen = list(indices)
        return EnhancerCode(code.examples.map(lambda x: x[:, chosen]), self.base.select_examples(code.base, chosen))

    def remember(self, driving: Frame, synthesis: Synthesis, past: Frame | None) -> Frame:
        """As `Generator.remember`. The frame of the base is `synthesis.coarser`; a real image is halved."""
        small = _halve_frame(driving if synthesis.coarser else replace(driving, image=synthesis.frame))
        image = synthesis.coarser[0] if synthesis.coarser else small.required_image
        return self.base.remember(small, Synthesis(image, image), past)

    def synthesize(self, code: EnhancerCode, driving: Frame, past: Frame | None = None) -> Synthesis:
        with torch.no_grad():
            small = _halve_frame(driving)
            made = self.base.synthesize(code.base, small, past)
            assert made.example is not None
            light, trust = light_and_trust(made.frame, made.example.image, made.example_mask)
            sources, flows, shares = _sources(code.examples, made)
            warped = _blend(sources, flows, shares)
            enlarged = F.interpolate(made.frame, scale_factor=FACTOR, mode="bicubic", align_corners=False)
        dtype = small.semantic.dtype
        mask = torch.ones_like(trust) if made.example_mask is None else made.example_mask
        maps = torch.cat([made.frame, light, mask, trust, F.pixel_unshuffle(warped, FACTOR)], 1)
        features = activate(self.unet(torch.cat([small.semantic, maps.to(dtype)], 1))[0])
        correction = _enlarge(self.to_flow(features).float()) * (FLOW_UNIT * driving.semantic.shape[-2])
        flows = flows + correction[:, None]
        warped = _blend(sources, flows, shares)
        x = activate(self.merge(torch.cat([features, torch.cat([made.frame, F.pixel_unshuffle(warped, FACTOR)], 1).to(dtype)], 1)))
        first, second = self.blocks
        x = activate(x + second(activate(first(x))))
        detail, change = F.pixel_shuffle(self.to_detail(x).float(), FACTOR).split([3, 1], 1)
        opacity = torch.sigmoid(torch.logit(_enlarge(trust), CERTAIN) + change)
        raw = enlarged + detail
        frame = torch.lerp(raw, warped + _enlarge(light), opacity)
        flow = flows[:, 0] if shares is None else flows.gather(1, shares.argmax(1)[:, None, None].expand(-1, -1, 2, -1, -1))[:, 0]
        several = shares is not None
        example = Warped(warped, flow, -torch.logit(opacity), flows if several else None, shares)
        return Synthesis(
            frame, raw, example, 1 - opacity, attention=made.attention, shares=made.shares, chosen_example=made.chosen_example,
            coarser=(made.frame,),
        )  # fmt: skip


def _sources(examples: Frame, made: Synthesis) -> tuple[Tensor, Tensor, Tensor | None]:
    """The examples that the base warped, [B, S, 3, H, W], their enlarged flows [B, S, 2, H, W] and shares [B, S, H, W].

    The shares are None if the base warped only one example.
    """
    warped = made.example
    assert warped is not None
    if warped.flows is not None and warped.shares is not None:
        flows = FACTOR * _enlarge(warped.flows.flatten(0, 1)).unflatten(0, warped.flows.shape[:2])
        return examples.required_image, flows, _enlarge(warped.shares)
    images = examples.required_image
    if images.shape[1] > 1 and made.chosen_example is not None:
        images = images[torch.arange(len(images), device=images.device), made.chosen_example][:, None]
    return images[:, :1], FACTOR * _enlarge(warped.flow)[:, None], None


def _blend(sources: Tensor, flows: Tensor, shares: Tensor | None) -> Tensor:
    """The sources warped by their flows, [B, 3, H, W]. With several sources, each pixel is their mean with `shares` as weights."""
    images = warp(sources.flatten(0, 1), flows.flatten(0, 1), mode="bicubic").unflatten(0, sources.shape[:2])
    blended: Tensor = images[:, 0] if shares is None else (images * shares[:, :, None]).sum(1)
    return blended


def _halve_frame(frame: Frame) -> Frame:
    """The frame [..., H, W] at half the size, without regions and appearance."""
    keypoints = frame.keypoints.clone()
    keypoints[..., :2] = (keypoints[..., :2] + 0.5) / FACTOR - 0.5
    semantic = frame.semantic if frame.semantic.is_floating_point() else frame.semantic.float()
    return Frame(_halve_images(semantic), keypoints, None if frame.image is None else _halve_images(frame.image))


def _halve_images(images: Tensor) -> Tensor:
    """[..., C, H, W] -> [..., C, H/2, W/2]: means of 2x2 pixels."""
    halved: Tensor = F.avg_pool2d(images.flatten(0, -4), FACTOR).unflatten(0, images.shape[:-3])
    return halved


def _enlarge(maps: Tensor) -> Tensor:
    """[B, C, H, W] -> [B, C, 2H, 2W]"""
    return F.interpolate(maps, scale_factor=FACTOR, mode="bilinear", align_corners=False)


def _initialise_zero(layer: nn.Module) -> nn.Module:
    """The layer with zeros as weights, so that what it corrects does not change before training."""
    assert isinstance(layer.weight, Tensor)
    nn.init.zeros_(layer.weight)
    return layer
