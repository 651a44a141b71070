"""The predictor of label maps: equation 4 of vid2vid (Wang et al. 2018) with label maps in the place of images.

From the last L label maps the next one is made as (1 - m) w(p) + m h: the newest map p moved by the flow w, and hallucinated labels h.
The sum is a probability for each label. Each pixel keeps its most probable label, so that labels stay crisp however long the future is.
Labels move by whole pixels, and the rounded part of a motion is carried to the next frame: a car that moves by 0.3 pixels per frame has
moved by 3 pixels after ten frames.
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
"""The flow for an output of 1 as a share of the image's height: 20 pixels at 256x512, as in the coarsest scale of vid2vid."""
TRUST = -2.0
"""Initial bias of the mask: at first a label map is the one before it."""


@dataclass(frozen=True)
class Past(Frame):
    """The label map before, one-hot, `semantic` [B, S, H, W]."""

    seen: tuple[Tensor, ...] = ()
    """It and those before it as the network sees them, the newest first, at most L: [B, S, h, w]."""
    rest: Tensor | None = None
    """How far each label lies from where it should, [B, 2, H, W] in pixels, at most half a pixel; None after an observed map."""

    def cast(self, dtype: torch.dtype) -> Past:
        return replace(self, semantic=self.semantic.to(dtype))

    def map(self, change: Callable[[Tensor], Tensor]) -> Past:
        rest = None if self.rest is None else change(self.rest)
        return Past(**vars(super().map(change)), seen=tuple(map(change, self.seen)), rest=rest)


class Future(Generator):
    """Each label map from the L before it. Without a past it is hallucinated from maps of zeros."""

    config: FutureConfig

    def __init__(self, config: FutureConfig) -> None:
        super().__init__()
        self.config = c = config
        widths = [c.filters * 2**level for level in range(c.downs + 1)]
        late = c.blocks // 2
        self.past = encoder(c.semantic_channels * c.past_frames, widths, c.blocks - late, affine=True)
        self.labels = decoder(widths, late, affine=True)
        self.motion = decoder(widths, late, affine=True)
        self.to_labels = conv7x7(c.filters, c.semantic_channels)
        self.to_flow, self.to_mask = conv7x7(c.filters, 2), conv7x7(c.filters, 1)
        self.apply(initialise)
        nn.init.constant_(self.to_mask.bias, TRUST)  # type: ignore[arg-type]

    def encode_examples(self, examples: Frame | None) -> Code:
        return Code(examples)

    def choose(self, code: Code, indices: Sequence[int]) -> Code:
        return code

    def synthesize(self, code: Code, driving: Frame, past: Frame | None = None) -> Synthesis:
        """driving: its size alone matters, [B, S, H, W]; what it shows is not looked at."""
        size = driving.semantic.shape[-2:]
        before = None if past is None else self._past(past)
        features = self.past(self._stacked(driving, before))
        painted = resized(self.to_labels(self.labels(features)).float(), size).softmax(1)
        if before is None:
            return Synthesis(painted, painted)
        motion = self.motion(features)
        flow = self._flow(self.to_flow(motion).float(), size)
        logits = smooth(self.to_mask(motion).float(), size)
        moved = nearest(before.semantic.float(), reach(flow, before.rest))
        mask = torch.sigmoid(logits)
        return Synthesis(torch.lerp(moved, painted, mask), painted, previous=Warped(moved, flow, logits), previous_mask=mask)

    def remember(self, driving: Frame, made: Synthesis, past: Frame | None) -> Past:
        """Straight-through: the past holds crisp maps in training as in use, and gradients pass as if it held the probabilities."""
        before = None if past is None else self._past(past)
        newest = crisp(made.frame)
        return Past(newest, driving.keypoints, seen=self._seen(newest, before), rest=_rest(made, before))

    def follow(self, numbers: Tensor, made: Synthesis, past: Frame) -> Tensor:
        """A number stays with its label; pixels where another label appears get 0."""
        before = self._past(past)
        if made.previous is None:
            return torch.zeros_like(numbers)
        flow = reach(made.previous.flow, before.rest)
        labels = before.semantic.argmax(1, keepdim=True)
        same = nearest(labels, flow) == made.frame.argmax(1, keepdim=True)
        return torch.where(same, nearest(numbers, flow), 0)

    def _past(self, past: Frame) -> Past:
        """A frame that the caller supplies holds one observed map."""
        if isinstance(past, Past):
            return past
        return Past(past.semantic, past.keypoints, seen=self._seen(past.semantic, None))

    def _seen(self, newest: Tensor, before: Past | None) -> tuple[Tensor, ...]:
        older = () if before is None else before.seen
        return (resized(newest.float(), self.config.size), *older)[: self.config.past_frames]

    def _stacked(self, driving: Frame, before: Past | None) -> Tensor:
        """L maps, the newest first. If fewer are known, the earliest is repeated."""
        maps = [driving.semantic.new_zeros(*driving.semantic.shape[:2], *self.config.size)] if before is None else list(before.seen)
        maps += [maps[-1]] * (self.config.past_frames - len(maps))
        return torch.cat(maps, 1).to(self.to_labels.weight.dtype)

    def _flow(self, output: Tensor, size: Sequence[int]) -> Tensor:
        """Outputs of the network [B, 2, h, w] as flow [B, 2, H, W] in pixels of an image of `size`."""
        (height, width), (own_height, own_width) = size, self.config.size
        units = output.new_tensor([own_height * width / own_width, height]) * FLOW_UNIT
        return smooth(output, size) * units[:, None, None]


def smooth(output: Tensor, size: Sequence[int]) -> Tensor:
    """Outputs of the network [B, C, h, w] at `size`, without the grid that transposed convolutions leave: it would scatter labels."""
    return resized(F.avg_pool2d(output, 2), size)


def resized(maps: Tensor, size: Sequence[int]) -> Tensor:
    """maps [B, C, h, w] -> [B, C, H, W]; larger ones are averaged."""
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    return F.interpolate(maps, tuple(size), mode="bilinear", antialias=True)


def crisp(probabilities: Tensor) -> Tensor:
    """[B, S, H, W] -> one-hot, where any label has a probability; with the gradient of the probabilities."""
    most, label = probabilities.max(1, keepdim=True)
    hard = torch.zeros_like(probabilities).scatter_(1, label, (most > 0).to(probabilities.dtype))
    return hard + (probabilities - probabilities.detach()) if probabilities.requires_grad else hard


def reach(flow: Tensor, rest: Tensor | None) -> Tensor:
    """How far from each pixel its label is looked for in the map before, whose labels lie off by their rest."""
    return flow if rest is None else flow - nearest(rest, flow)


def _rest(made: Synthesis, before: Past | None) -> Tensor | None:
    """How far the labels in `made` lie from where the flow takes them; nothing where they are hallucinated."""
    if made.previous is None or made.previous_mask is None or before is None:
        return None
    wanted = reach(made.previous.flow.detach(), before.rest)
    return torch.where(made.previous_mask > 0.5, 0, wanted.round() - wanted)


def nearest(maps: Tensor, flow: Tensor) -> Tensor:
    """maps [B, C, H, W] at the pixel that is nearest to where the flow [B, 2, H, W] leads; outside the image its edge is repeated."""
    height, width = flow.shape[-2:]
    x = (torch.arange(width, device=flow.device) + flow[:, 0].round()).clamp(0, width - 1).long()
    y = (torch.arange(height, device=flow.device)[:, None] + flow[:, 1].round()).clamp(0, height - 1).long()
    place = (y * width + x).flatten(1)[:, None].expand(-1, maps.shape[1], -1)
    found: Tensor = maps.flatten(2).gather(2, place).unflatten(2, (height, width))
    return found
