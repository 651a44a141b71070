"""The generator of vid2vid (Wang et al. 2018, section 3): the function F of equations 4 and 9, at one scale or coarse to fine.

The coarsest scale encodes the label maps of the frame and of the L before it, and the L past images, adds both, and decodes them twice:
into h_t, and into the flow w and the mask m. Each finer scale adds the last features of the scale below to its own. Every scale makes an
image and has past images of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stages.flow.warp import warp
from stages.networks.common.frame import Frame, Warped
from stages.networks.common.generator import Code, Generator, Synthesis
from stages.networks.common.residual import conv7x7, decoder, encoder, half_size, initialise, joined
from stages.networks.vid2vid.appearance import AppearanceEncoder, region_means
from stages.networks.vid2vid.config import Vid2VidConfig

FLOW_UNIT = 20.0
"""Pixels of the coarsest scale's flow for an output of 1; twice as many at each finer scale."""


@dataclass(frozen=True)
class Past(Frame):
    """The frame before, and those before it. Where the model has an appearance, z_t is part of the semantic image."""

    coarser: tuple[Tensor, ...] = ()
    """The image as each coarser scale made it, the finest first."""
    older: Past | None = None

    def cast(self, dtype: torch.dtype) -> Past:
        older = None if self.older is None else self.older.cast(dtype)
        semantic = self.semantic if self.semantic.dtype == torch.bool else self.semantic.to(dtype)  # as long as it is stacked with others
        return replace(self, semantic=semantic, older=older)

    def map(self, change: Callable[[Tensor], Tensor]) -> Past:
        older = None if self.older is None else self.older.map(change)
        return Past(**vars(super().map(change)), coarser=tuple(map(change, self.coarser)), older=older)

    def frames(self) -> Iterator[Past]:
        """The newest first."""
        yield self
        if self.older is not None:
            yield from self.older.frames()


class Features(NamedTuple):
    """The last features of a scale's decoders, [B, filters, H, W]; None for a decoder that the scale does not have."""

    image: Tensor
    motion: Tensor | None
    foreground: Tensor | None


class Heads(nn.Module):
    """The outputs of a scale, from its features."""

    def __init__(self, config: Vid2VidConfig, level: int) -> None:
        super().__init__()
        self.unit = FLOW_UNIT * 2**level
        self.image = conv7x7(config.filters >> level, 3)
        self.flow, self.mask = (conv7x7(config.filters >> level, channels) if config.motion else None for channels in (2, 1))
        self.foreground = conv7x7(config.foreground_filters >> level, 3) if config.foreground else None
        self.folded: nn.Conv2d | None = None

    def flow_and_mask(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """The flow in pixels [B, 2, H, W], and the mask before its sigmoid [B, 1, H, W]; float32."""
        assert self.flow is not None
        assert self.mask is not None
        flow, mask = (self.flow(features), self.mask(features)) if self.folded is None else self.folded(features).split([2, 1], 1)
        return flow.float() * self.unit, mask.float()

    def fold(self) -> None:
        """From now on compute flow and mask as one convolution."""
        if self.flow is not None and self.mask is not None:
            self.folded = joined([self.flow, self.mask])


class Scale(nn.Module):
    """One scale of the generator: label maps, past images and the features of the scale below to features.

    The label maps are those with the numbers `present`, or all.
    """

    heads: Heads

    def __init__(self) -> None:
        super().__init__()
        self.folded: nn.Conv2d | None = None

    def label_encoders(self) -> list[nn.Sequential]:
        """The networks that begin with the label maps: the encoder, and where there is a foreground its own."""
        raise NotImplementedError

    def fold(self) -> None:
        """From now on compute the first convolutions of the label encoders as one."""
        self.folded = joined([cast(nn.Conv2d, network[0]) for network in self.label_encoders()])

    def encoded_labels(self, labels: Tensor, present: Tensor | None) -> list[Tensor]:
        """The features of each label encoder."""
        networks = self.label_encoders()
        if self.folded is None or present is None:
            return [network(labels) for network in networks]
        padded = F.pad(labels, (3, 3, 3, 3), mode="reflect")
        first = F.conv2d(padded, self.folded.weight[:, present], self.folded.bias)
        widths = [network[0].out_channels for network in networks]
        return [network[1:](x) for network, x in zip(networks, first.split(widths, 1), strict=True)]


class CoarseScale(Scale):
    """G_0: labels and past images to features. H_F (`foreground`) sees labels alone."""

    def __init__(self, config: Vid2VidConfig) -> None:
        super().__init__()
        c, labels, images = config, *_inputs(config)
        widths, narrow = ([filters * 2**level for level in range(c.downs + 1)] for filters in (c.filters, c.foreground_filters))
        late = c.blocks // 2
        self.labels = encoder(labels, widths, c.blocks - late, affine=True)
        self.past = encoder(images, widths, c.blocks - late, affine=True)
        self.image = decoder(widths, late, affine=True)
        self.motion = decoder(widths, late, affine=True) if c.motion else None
        self.foreground = (
            nn.Sequential(*encoder(labels, narrow, c.blocks, affine=True), *decoder(narrow, 0, affine=True)) if c.foreground else None
        )
        self.heads = Heads(c, 0)

    def forward(self, labels: Tensor, images: Tensor, below: Features | None, present: Tensor | None = None) -> Features:
        encoded, *foreground = self.encoded_labels(labels, present)
        x = encoded + self.past(images)
        motion = None if self.motion is None else self.motion(x)
        return Features(self.image(x), motion, foreground[0] if foreground else None)

    def label_encoders(self) -> list[nn.Sequential]:
        return [self.labels] if self.foreground is None else [self.labels, self.foreground]


class FineScale(Scale):
    """G_s: like the coarsest scale, at twice the size of the scale below. It adds that scale's features to its own."""

    def __init__(self, config: Vid2VidConfig, level: int) -> None:
        super().__init__()
        c, labels, images = config, *_inputs(config)
        widths, narrow = ([filters >> level, 2 * filters >> level] for filters in (c.filters, c.foreground_filters))
        self.labels, self.past = encoder(labels, widths, 0, affine=True), encoder(images, widths, 0, affine=True)
        self.image = decoder(widths, c.enhancer_blocks, affine=True)
        self.motion = decoder(widths, c.enhancer_blocks, affine=True) if c.motion else None
        self.foreground_labels = encoder(labels, narrow, 0, affine=True) if c.foreground else None
        self.foreground = decoder(narrow, c.enhancer_blocks, affine=True) if c.foreground else None
        self.heads = Heads(c, level)

    def forward(self, labels: Tensor, images: Tensor, below: Features | None, present: Tensor | None = None) -> Features:
        assert below is not None
        encoded, *of_foreground = self.encoded_labels(labels, present)
        x = encoded + self.past(images)
        motion = foreground = None
        if self.motion is not None:
            motion = self.motion(x + below.motion)
        if self.foreground is not None:
            assert below.foreground is not None
            foreground = self.foreground(of_foreground[0] + below.foreground)
        return Features(self.image(x + below.image), motion, foreground)

    def label_encoders(self) -> list[nn.Sequential]:
        return [self.labels] if self.foreground_labels is None else [self.labels, self.foreground_labels]


class Vid2Vid(Generator):
    """Each frame from its semantic image, and from the semantic and real or generated images of the L frames before it.

    Without a past the frame is h_t alone, made from past images of zeros. Images smaller than `config.size` by powers of two are made by
    the coarser scales alone, so that these can be trained first.
    """

    config: Vid2VidConfig

    def __init__(self, config: Vid2VidConfig) -> None:
        super().__init__()
        if wrong := [label for label in config.foreground if not isinstance(label, int) or label >= config.semantic_channels]:
            raise ValueError(f"the foreground has no channel {wrong[0]!r}, only 0 to {config.semantic_channels - 1}")
        self.config = c = config
        self.encoder = AppearanceEncoder(c.appearance, c.appearance_filters, c.appearance_downs) if c.appearance else None
        self.scales = nn.ModuleList([CoarseScale(c), *(FineScale(c, level) for level in range(1, c.enhancers + 1))])
        self.skips_empty = False
        self.apply(initialise)

    def fold(self) -> None:
        """From now on leave out the label maps that are empty: most, in a street."""
        self.skips_empty = True

    def encode_examples(self, examples: Frame | None) -> Code:
        return Code(examples)

    def choose(self, code: Code, indices: object) -> Code:
        return code

    def finest(self, height: int) -> int:
        """The number of the scale that makes images of that height, 0 for the coarsest."""
        coarsest = self.config.size[0] >> self.config.enhancers
        return min(max((height // coarsest).bit_length() - 1, 0), self.config.enhancers)

    def synthesize(self, code: Code, driving: Frame, past: Frame | None = None) -> Synthesis:
        level = self.finest(driving.semantic.shape[-2])
        past_frames = list(self._past(past, level).frames()) if past is not None else []
        appearance = self.appearance_of(driving) if self.config.appearance else None
        stacked = self._stacked_labels(_joined(driving.semantic, appearance), past_frames)
        present = _not_empty(stacked) if self.skips_empty else None
        labels = _pyramid(stacked if present is None else stacked[:, present], level)
        del stacked  # at 2048x1024 it takes half a gigabyte
        in_foreground = _pyramid(self._foreground(driving.semantic), level)
        features: Features | None = None
        made: list[Synthesis] = []
        for scale in range(level + 1):
            depth = level - scale
            images = [frame.required_image if depth == 0 else frame.coarser[depth - 1] for frame in past_frames]
            network: Scale = self.scales[scale]  # type: ignore[assignment]
            features = network(labels[depth], self._stacked_images(images, labels[depth]), features, present)
            made.insert(0, self._composed(network.heads, features, images[0] if images else None, in_foreground[depth]))
        return replace(made[0], appearance=appearance, coarser=tuple(other.frame for other in made[1:]))

    def appearance_of(self, frame: Frame) -> Tensor:
        """The appearance that was chosen for a frame, else that of its image: E's features, averaged over each region.

        E sees the image at the size of the coarsest scale, so that a feature means the same at all scales.
        """
        if frame.appearance is not None:
            return frame.appearance
        if self.encoder is None or frame.image is None or frame.regions is None:
            raise ValueError("the frame has neither an appearance nor an image with regions")
        smallest = _pyramid(frame.image, self.finest(frame.image.shape[-2]))[-1]
        features = self.encoder(smallest.to(frame.semantic.dtype)).float()
        return region_means(F.interpolate(features, frame.image.shape[-2:]), frame.regions)

    def learn_finest(self, height: int | None) -> None:
        if self.encoder is not None:
            self.encoder.requires_grad_(height is None or self.finest(height) == 0)
        for level, scale in enumerate(self.scales):
            scale.requires_grad_(height is None or level == self.finest(height))

    def remember(self, driving: Frame, made: Synthesis, past: Frame | None) -> Past:
        level = self.finest(made.frame.shape[-2])
        older = None if past is None else _newest(self._past(past, level), self.config.past_frames - 1)
        appearance = self.appearance_of(driving) if self.config.appearance and made.appearance is None else made.appearance
        semantic = _joined(driving.semantic, appearance)
        return self._past(Past(semantic, driving.keypoints, made.frame, coarser=made.coarser, older=older), level)

    def _past(self, past: Frame, level: int) -> Past:
        """The past with an image for every scale: a frame that the caller supplies has only the finest."""
        found = past if isinstance(past, Past) else self._given(past)
        if len(found.coarser) < level:
            found = replace(found, coarser=tuple(_pyramid(found.required_image, level)[1:]))
        return found

    def _given(self, frame: Frame) -> Past:
        """A frame that the caller supplies as the past."""
        appearance = self.appearance_of(frame) if self.config.appearance else None
        return Past(_joined(frame.semantic, appearance), frame.keypoints, frame.image)

    def _stacked_labels(self, semantic: Tensor, past_frames: list[Past]) -> Tensor:
        """The semantic images of the frame and the L before it, the newest first. If fewer exist, the earliest is repeated."""
        maps = [semantic, *(frame.semantic for frame in past_frames)]
        maps += [maps[-1]] * (self.config.past_frames + 1 - len(maps))
        return torch.cat(maps, 1)

    def _stacked_images(self, images: list[Tensor], like: Tensor) -> Tensor:
        """L past images, the newest first; missing ones are zeros."""
        missing = self.config.past_frames - len(images)
        zeros = like.new_zeros(like.shape[0], 3 * missing, *like.shape[-2:])
        return torch.cat([*(image.to(like.dtype) for image in images), zeros], 1)

    def _foreground(self, semantic: Tensor) -> Tensor:
        """1 - m_B, [B, 1, H, W]."""
        return semantic[:, list(self.config.foreground)].sum(1, keepdim=True).clamp(0, 1)

    def _composed(self, heads: Heads, features: Features, before: Tensor | None, in_foreground: Tensor) -> Synthesis:
        """Equation 4, or equation 9 where there is a foreground: one scale's frame and its parts."""
        painted = torch.tanh(heads.image(features.image).float())
        in_foreground = in_foreground.float()
        foreground = None
        if heads.foreground is not None:
            foreground = torch.tanh(heads.foreground(features.foreground).float())
        raw = painted if foreground is None else torch.lerp(painted, foreground, in_foreground)
        if before is None or features.motion is None:
            return Synthesis(raw, raw)
        flow, logits = heads.flow_and_mask(features.motion)
        moved = warp(before, flow)
        mask = torch.sigmoid(logits)
        if foreground is not None and self.config.composite == "after":
            frame = torch.lerp(torch.lerp(moved, painted, mask), foreground, in_foreground)
        else:
            frame = torch.lerp(moved, raw, mask)
        return Synthesis(frame, raw, previous=Warped(moved, flow, logits), previous_mask=mask)


def _inputs(config: Vid2VidConfig) -> tuple[int, int]:
    """Channels of the stacked label maps and of the stacked past images."""
    return (config.semantic_channels + config.appearance) * (config.past_frames + 1), 3 * config.past_frames


def _joined(semantic: Tensor, appearance: Tensor | None) -> Tensor:
    """s_t with z_t as further channels."""
    return semantic if appearance is None else torch.cat([semantic, appearance.to(semantic.dtype)], 1)


def _not_empty(maps: Tensor) -> Tensor:
    """The numbers of the maps [B, N, H, W] that are not zero everywhere."""
    return maps.flatten(2).any(2).any(0).nonzero()[:, 0]


def _pyramid(image: Tensor, levels: int) -> list[Tensor]:
    """The image and its halves, the largest first."""
    sizes = [image]
    for _ in range(levels):
        sizes.append(half_size(sizes[-1]))
    return sizes


def _newest(past: Past, count: int) -> Past | None:
    """The newest `count` frames of a past."""
    if count <= 0:
        return None
    return replace(past, older=None if past.older is None else _newest(past.older, count - 1))
