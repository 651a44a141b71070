"""The predictor of label maps: equation 4 of vid2vid (Wang et al. 2018) with label maps instead of images.

The next label map is predicted from the last L maps as (1 - m) w(p) + m h: w(p) is the newest map p, warped by the flow, h are hallucinated
labels, and the mask m is their share. The sum is a probability for each label. The past contains only the most probable label of each
pixel, so that label maps stay sharp over many frames. Labels move by whole pixels, and the rounding error of a motion is carried to the
next frame: a car that moves by 0.3 pixels per frame has moved by 3 pixels after ten frames.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stages.networks.common.frame import Frame, Warped
from stages.networks.common.generator import Code, Generator, Synthesis
from stages.networks.common.residual import conv7x7, decoder, encoder, initialise
from stages.networks.future.config import FutureConfig

FLOW_UNIT = 20 / 256
"""The flow for an output of 1, in heights of the image: 20 pixels at 256x512, as in the coarsest scale of vid2vid."""
INITIAL_MASK = -2.0
"""Initial bias of the mask logits. It is low, so that at the start of training each label map is nearly the previous one."""


@dataclass(frozen=True)
class Past(Frame):
    """The previous label map, one-hot, as `semantic` [B, S, H, W]."""

    inputs: tuple[Tensor, ...] = ()
    """At most L past label maps at the size of the network, [B, S, h, w], the newest first."""
    rounding_error: Tensor | None = None
    """Exact minus rounded position of the label of each pixel, [B, 2, H, W], at most half a pixel; None after an observed map."""

    def cast(self, dtype: torch.dtype) -> Past:
        return replace(self, semantic=self.semantic.to(dtype))

    def map(self, change: Callable[[Tensor], Tensor]) -> Past:
        error = None if self.rounding_error is None else change(self.rounding_error)
        return Past(**vars(super().map(change)), inputs=tuple(map(change, self.inputs)), rounding_error=error)


class Future(Generator):
    """Predicts each label map from the L before it. Without a past it is hallucinated from maps of zeros."""

    config: FutureConfig

    def __init__(self, config: FutureConfig) -> None:
        super().__init__()
        self.config = c = config
        widths = [c.filters * 2**level for level in range(c.downs + 1)]
        decoder_blocks = c.blocks // 2
        self.past = encoder(c.semantic_channels * c.past_frames, widths, c.blocks - decoder_blocks, affine=True)
        self.labels = decoder(widths, decoder_blocks, affine=True)
        self.motion = decoder(widths, decoder_blocks, affine=True)
        self.to_labels = conv7x7(c.filters, c.semantic_channels)
        self.to_flow, self.to_mask = conv7x7(c.filters, 2), conv7x7(c.filters, 1)
        self.apply(initialise)
        nn.init.constant_(self.to_mask.bias, INITIAL_MASK)  # type: ignore[arg-type]

    def encode_examples(self, examples: Frame | None) -> Code:
        return Code(examples)

    def select_examples(self, code: Code, indices: Sequence[int]) -> Code:
        return code

    def synthesize(self, code: Code, driving: Frame, past: Frame | None = None) -> Synthesis:
        """As `Generator.synthesize`. Only the size of driving.semantic [B, S, H, W] matters; its values are not used."""
        size = driving.semantic.shape[-2:]
        before = None if past is None else self._as_past(past)
        features = self.past(self._stack_inputs(driving, before))
        hallucinated = resize(self.to_labels(self.labels(features)).float(), size).softmax(1)
        if before is None:
            return Synthesis(hallucinated, hallucinated)
        motion = self.motion(features)
        flow = self._flow(self.to_flow(motion).float(), size)
        logits = smooth_resize(self.to_mask(motion).float(), size)
        warped = warp_nearest(before.semantic.float(), correct_flow(flow, before.rounding_error))
        mask = torch.sigmoid(logits)
        frame = torch.lerp(warped, hallucinated, mask)
        return Synthesis(frame, hallucinated, previous=Warped(warped, flow, logits), previous_mask=mask)

    def remember(self, driving: Frame, synthesis: Synthesis, past: Frame | None) -> Past:
        """As `Generator.remember`. The past contains one-hot maps, but has the gradients of the probabilities (straight-through)."""
        before = None if past is None else self._as_past(past)
        newest = to_one_hot(synthesis.frame)
        error = _rounding_error(synthesis, before)
        return Past(newest, driving.keypoints, inputs=self._past_inputs(newest, before), rounding_error=error)

    def propagate_instances(self, numbers: Tensor, synthesis: Synthesis, past: Frame) -> Tensor:
        """As `Generator.propagate_instances`. Pixels whose label changes along the flow get the number 0."""
        before = self._as_past(past)
        if synthesis.previous is None:
            return torch.zeros_like(numbers)
        flow = correct_flow(synthesis.previous.flow, before.rounding_error)
        labels = before.semantic.argmax(1, keepdim=True)
        same = warp_nearest(labels, flow) == synthesis.frame.argmax(1, keepdim=True)
        return torch.where(same, warp_nearest(numbers, flow), 0)

    def _as_past(self, past: Frame) -> Past:
        """The past itself, or a `Past` of a frame with one observed map."""
        if isinstance(past, Past):
            return past
        return Past(past.semantic, past.keypoints, inputs=self._past_inputs(past.semantic, None))

    def _past_inputs(self, newest: Tensor, before: Past | None) -> tuple[Tensor, ...]:
        """`Past.inputs`, given the newest map [B, S, H, W] and the past before it."""
        older = () if before is None else before.inputs
        return (resize(newest.float(), self.config.size), *older)[: self.config.past_frames]

    def _stack_inputs(self, driving: Frame, before: Past | None) -> Tensor:
        """L past maps [B, L S, h, w], the newest first. If fewer are known, the earliest is repeated; if none is, they are zeros."""
        maps = [driving.semantic.new_zeros(*driving.semantic.shape[:2], *self.config.size)] if before is None else list(before.inputs)
        maps += [maps[-1]] * (self.config.past_frames - len(maps))
        return torch.cat(maps, 1).to(self.to_labels.weight.dtype)

    def _flow(self, output: Tensor, size: Sequence[int]) -> Tensor:
        """Outputs of the network [B, 2, h, w] as flow [B, 2, H, W] in pixels of an image of `size`."""
        (height, width), (network_height, network_width) = size, self.config.size
        units = output.new_tensor([network_height * width / network_width, height]) * FLOW_UNIT
        return smooth_resize(output, size) * units[:, None, None]


def smooth_resize(output: Tensor, size: Sequence[int]) -> Tensor:
    """Outputs of the network [B, C, h, w], averaged over 2x2 pixels and resized to `size`.

    The averages remove the checkerboard pattern of transposed convolutions, which would scatter labels.
    """
    return resize(F.avg_pool2d(output, 2), size)


def resize(maps: Tensor, size: Sequence[int]) -> Tensor:
    """maps [B, C, h, w] -> [B, C, H, W], bilinear with antialiasing."""
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    return F.interpolate(maps, tuple(size), mode="bilinear", antialias=True)


def to_one_hot(probabilities: Tensor) -> Tensor:
    """The most probable label of each pixel, one-hot [B, S, H, W], with the gradient of the probabilities; zeros if all are 0."""
    largest, label = probabilities.max(1, keepdim=True)
    one_hot = torch.zeros_like(probabilities).scatter_(1, label, (largest > 0).to(probabilities.dtype))
    return one_hot + (probabilities - probabilities.detach()) if probabilities.requires_grad else one_hot


def correct_flow(flow: Tensor, rounding_error: Tensor | None) -> Tensor:
    """The flow [B, 2, H, W] minus the rounding error at the position in the previous map to which it points."""
    return flow if rounding_error is None else flow - warp_nearest(rounding_error, flow)


def _rounding_error(synthesis: Synthesis, before: Past | None) -> Tensor | None:
    """`Past.rounding_error` after `synthesis`; 0 where its labels are hallucinated."""
    if synthesis.previous is None or synthesis.previous_mask is None or before is None:
        return None
    exact = correct_flow(synthesis.previous.flow.detach(), before.rounding_error)
    return torch.where(synthesis.previous_mask > 0.5, 0, exact.round() - exact)


def warp_nearest(maps: Tensor, flow: Tensor) -> Tensor:
    """maps [B, C, H, W], warped by the backward flow [B, 2, H, W] rounded to whole pixels; outside the image its edge is repeated."""
    height, width = flow.shape[-2:]
    x = (torch.arange(width, device=flow.device) + flow[:, 0].round()).clamp(0, width - 1).long()
    y = (torch.arange(height, device=flow.device)[:, None] + flow[:, 1].round()).clamp(0, height - 1).long()
    indices = (y * width + x).flatten(1)[:, None].expand(-1, maps.shape[1], -1)
    warped: Tensor = maps.flatten(2).gather(2, indices).unflatten(2, (height, width))
    return warped
