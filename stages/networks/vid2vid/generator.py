"""The generator of vid2vid (Wang et al. 2018, section 3): the function F of equations 4 and 9, at one scale or coarse to fine.

The coarsest scale encodes the label maps of the frame and of the L frames before it, and the L past images. It adds both features and
decodes them twice: to h_t, and to the flow w and the mask m. Each finer scale adds the last features of the next coarser scale to its own.
Every scale makes an image of its size and sees past images of this size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stages.flow.warp import warp
from stages.networks.common.frame import Frame, Warped
from stages.networks.common.generator import Code, Generator, Synthesis
from stages.networks.common.recomputing import Recomputing
from stages.networks.common.residual import conv7x7, decoder, encoder, half_size, initialise, join_conv7x7
from stages.networks.vid2vid.appearance import AppearanceEncoder, region_means
from stages.networks.vid2vid.config import Vid2VidConfig

FLOW_UNIT = 20.0
"""The flow in pixels for an output of 1 at the coarsest scale; each finer scale doubles it."""


@dataclass(frozen=True)
class Past(Frame):
    """The previous frame and those before it. If the model has an appearance, z_t is appended to the semantic image."""

    coarser: tuple[Tensor, ...] = ()
    """The images of the coarser scales, the finest first."""
    older: Past | None = None
    """The frames before this one."""

    def cast(self, dtype: torch.dtype) -> Past:
        older = None if self.older is None else self.older.cast(dtype)
        semantic = self.semantic if self.semantic.dtype == torch.bool else self.semantic.to(dtype)  # bool saves memory until it is stacked
        return replace(self, semantic=semantic, older=older)

    def map(self, change: Callable[[Tensor], Tensor]) -> Past:
        older = None if self.older is None else self.older.map(change)
        return Past(**vars(super().map(change)), coarser=tuple(map(change, self.coarser)), older=older)

    def frames(self) -> Iterator[Past]:
        """All past frames, the newest first."""
        yield self
        if self.older is not None:
            yield from self.older.frames()


class Features(NamedTuple):
    """The last features of the decoders of a scale, [B, filters, H, W]; None for a decoder that does not exist."""

    image: Tensor
    motion: Tensor | None
    foreground: Tensor | None


class Heads(Recomputing):
    """The last convolutions of a scale: from features to image, flow, mask and foreground."""

    def __init__(self, config: Vid2VidConfig, level: int) -> None:
        super().__init__()
        self.unit = FLOW_UNIT * 2**level
        self.image = conv7x7(config.filters >> level, 3)
        self.flow, self.mask = (conv7x7(config.filters >> level, channels) if config.motion else None for channels in (2, 1))
        self.foreground = conv7x7(config.foreground_filters >> level, 3) if config.foreground else None
        self.folded: nn.Conv2d | None = None

    def flow_and_mask(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """The flow in pixels [B, 2, H, W] and the logits of the mask [B, 1, H, W], float32."""
        assert self.flow is not None
        assert self.mask is not None
        if self.folded is None:
            flow, mask = self.run(self.flow, features), self.run(self.mask, features)
        else:
            flow, mask = self.folded(features).split([2, 1], 1)
        return flow.float() * self.unit, mask.float()

    def fold(self) -> None:
        """Compute flow and mask by one convolution from now on."""
        if self.flow is not None and self.mask is not None:
            self.folded = join_conv7x7([self.flow, self.mask])


class Scale(Recomputing):
    """One scale of the generator: (labels, images, coarser, present, has_past) -> `Features`.

    labels: stacked label maps [B, N, H, W]; images: stacked past images; coarser: the features of the next coarser scale, None for the
    coarsest. present: the channels of the full stack that `labels` contains; None: all. has_past: False if all past images are zeros.
    """

    past: nn.Sequential
    heads: Heads

    def __init__(self) -> None:
        super().__init__()
        self.folded: nn.Conv2d | None = None

    def label_encoders(self) -> list[nn.Sequential]:
        """The networks whose input is the label maps: the encoder and, with a foreground, H_F (at finer scales its encoder)."""
        raise NotImplementedError

    def fold(self) -> None:
        """Compute the first convolutions of the label encoders as one from now on."""
        self.folded = join_conv7x7([cast(nn.Conv2d, network[0]) for network in self.label_encoders()])

    def encode_past(self, images: Tensor, has_past: bool) -> Tensor:
        """The features of the past images.

        Without a past they have no gradient: the images are constant, and each instance norm of constants would multiply the gradient by
        hundreds, so that clipping would leave almost nothing of the gradients of the other weights.
        """
        with torch.set_grad_enabled(has_past and torch.is_grad_enabled()):
            features: Tensor = self.run(self.past, images)
        return features

    def encode_labels(self, labels: Tensor, present: Tensor | None) -> list[Tensor]:
        """The features of each label encoder; `labels` and `present` as in the class."""
        networks = self.label_encoders()
        if present is None:
            return [self.run(network, labels) for network in networks]
        if self.folded is None:
            return [self.run(_encode_present, network, labels, present) for network in networks]
        padded = F.pad(labels, (3, 3, 3, 3), mode="reflect")
        first = F.conv2d(padded, self.folded.weight[:, present], self.folded.bias)
        widths = [network[0].out_channels for network in networks]
        return [network[1:](x) for network, x in zip(networks, first.split(widths, 1), strict=True)]


class CoarseScale(Scale):
    """G_0, the coarsest scale. H_F (`foreground`) sees only the labels."""

    def __init__(self, config: Vid2VidConfig) -> None:
        super().__init__()
        c, labels, images = config, *_inputs(config)
        widths, foreground_widths = ([filters * 2**level for level in range(c.downs + 1)] for filters in (c.filters, c.foreground_filters))
        decoder_blocks = c.blocks // 2
        self.labels = encoder(labels, widths, c.blocks - decoder_blocks, affine=True)
        self.past = encoder(images, widths, c.blocks - decoder_blocks, affine=True)
        self.image = decoder(widths, decoder_blocks, affine=True)
        self.motion = decoder(widths, decoder_blocks, affine=True) if c.motion else None
        self.foreground = None
        if c.foreground:
            layers = *encoder(labels, foreground_widths, c.blocks, affine=True), *decoder(foreground_widths, 0, affine=True)
            self.foreground = nn.Sequential(*layers)
        self.heads = Heads(c, 0)

    def forward(
        self, labels: Tensor, images: Tensor, coarser: Features | None, present: Tensor | None = None, has_past: bool = True
    ) -> Features:
        encoded, *foreground = self.encode_labels(labels, present)
        x = encoded + self.encode_past(images, has_past)
        motion = None if self.motion is None else self.run(self.motion, x)
        return Features(self.run(self.image, x), motion, foreground[0] if foreground else None)

    def label_encoders(self) -> list[nn.Sequential]:
        return [self.labels] if self.foreground is None else [self.labels, self.foreground]


class FineScale(Scale):
    """G_s, a finer scale. It has twice the size of the next coarser scale, and adds that scale's features to its own."""

    def __init__(self, config: Vid2VidConfig, level: int) -> None:
        super().__init__()
        c, labels, images = config, *_inputs(config)
        widths, foreground_widths = ([filters >> level, 2 * filters >> level] for filters in (c.filters, c.foreground_filters))
        self.labels, self.past = encoder(labels, widths, 0, affine=True), encoder(images, widths, 0, affine=True)
        self.image = decoder(widths, c.enhancer_blocks, affine=True)
        self.motion = decoder(widths, c.enhancer_blocks, affine=True) if c.motion else None
        self.foreground_labels = encoder(labels, foreground_widths, 0, affine=True) if c.foreground else None
        self.foreground = decoder(foreground_widths, c.enhancer_blocks, affine=True) if c.foreground else None
        self.heads = Heads(c, level)

    def forward(
        self, labels: Tensor, images: Tensor, coarser: Features | None, present: Tensor | None = None, has_past: bool = True
    ) -> Features:
        assert coarser is not None
        encoded, *encoded_foreground = self.encode_labels(labels, present)
        x = encoded + self.encode_past(images, has_past)
        motion = foreground = None
        if self.motion is not None:
            assert coarser.motion is not None
            motion = self.run(self.motion, x + coarser.motion)
        if self.foreground is not None:
            assert coarser.foreground is not None
            foreground = self.run(self.foreground, encoded_foreground[0] + coarser.foreground)
        return Features(self.run(self.image, x + coarser.image), motion, foreground)

    def label_encoders(self) -> list[nn.Sequential]:
        return [self.labels] if self.foreground_labels is None else [self.labels, self.foreground_labels]


class Vid2Vid(Generator):
    """Makes each frame from its semantic image, and from the semantic images and images (real or generated) of the L frames before it.

    Without a past, the past images are zeros and the frame is h_t. Frames smaller than `config.size` by a power of two are made by the
    coarser scales only, so that these can be trained first. Any height and width that can be halved often enough are possible.
    """

    config: Vid2VidConfig

    def __init__(self, config: Vid2VidConfig) -> None:
        super().__init__()
        if invalid := [label for label in config.foreground if not isinstance(label, int) or label >= config.semantic_channels]:
            raise ValueError(f"the foreground has no channel {invalid[0]!r}, only 0 to {config.semantic_channels - 1}")
        self.config = c = config
        self.encoder = (
            AppearanceEncoder(c.appearance, c.appearance_filters, c.appearance_downs, c.appearance_colour) if c.appearance else None
        )
        self.scales = nn.ModuleList([CoarseScale(c), *(FineScale(c, level) for level in range(1, c.enhancers + 1))])
        self.skips_empty = False
        self.apply(initialise)
        if self.encoder is not None and c.appearance_colour:
            self.encoder.start_from_colour()

    def fold(self) -> None:
        """Leave out empty channels of label maps from now on; in a street, most are empty."""
        self.skips_empty = True

    def encode_examples(self, examples: Frame | None) -> Code:
        return Code(examples)

    def select_examples(self, code: Code, indices: object) -> Code:
        return code

    def finest(self, height: int) -> int:
        """The number of the scale whose images are closest to this height on a logarithmic axis; 0 is the coarsest."""
        coarsest = self.config.size[0] >> self.config.enhancers
        return min(max(round(math.log2(height / coarsest)), 0), self.config.enhancers)

    def synthesize(self, code: Code, driving: Frame, past: Frame | None = None) -> Synthesis:
        level = self.finest(driving.semantic.shape[-2])
        past_frames = list(self._as_past(past, level).frames()) if past is not None else []
        appearance = self.appearance_of(driving) if self.config.appearance else None
        stacked = self._stack_labels(_append_appearance(driving.semantic, appearance), past_frames)
        present = _nonzero_channels(stacked) if self.skips_empty or cast(Scale, self.scales[0]).recomputes else None
        labels = [_as_convolved(maps) for maps in _pyramid(stacked if present is None else stacked[:, present], level)]
        del stacked  # at 2048x1024 it takes half a gigabyte
        foreground_masks = _pyramid(self._foreground_mask(driving.semantic), level)
        bases: list[Tensor | float] = [0.0] * (level + 1)
        if self.config.appearance_colour and appearance is not None:
            bases = [_before_tanh(colour) for colour in _pyramid(appearance, level)]
        features: Features | None = None
        syntheses: list[Synthesis] = []
        for scale in range(level + 1):
            depth = level - scale
            images = [frame.required_image if depth == 0 else frame.coarser[depth - 1] for frame in past_frames]
            network: Scale = self.scales[scale]  # type: ignore[assignment]
            features = network(labels[depth], self._stack_images(images, labels[depth]), features, present, bool(images))
            before = images[0] if images else None
            syntheses.insert(0, self._compose(network.heads, features, before, foreground_masks[depth], bases[depth]))
        return replace(syntheses[0], appearance=appearance, coarser=tuple(coarser.frame for coarser in syntheses[1:]))

    def appearance_of(self, frame: Frame) -> Tensor:
        """`frame.appearance` if it is given, else the features of E from the image, averaged over each region.

        E sees the image at the size of the coarsest scale, so that its features do not depend on the scale.
        """
        if frame.appearance is not None:
            return frame.appearance
        if self.encoder is None or frame.image is None or frame.regions is None:
            raise ValueError("the frame has neither an appearance nor an image with regions")
        smallest = _pyramid(frame.image, self.finest(frame.image.shape[-2]))[-1]
        features = self.encoder(smallest.to(frame.semantic.dtype)).float()
        return region_means(F.interpolate(features, frame.image.shape[-2:]), frame.regions)

    def set_trainable_scale(self, height: int | None) -> None:
        if self.encoder is not None:
            self.encoder.requires_grad_(height is None or self.finest(height) == 0)
        for level, scale in enumerate(self.scales):
            scale.requires_grad_(height is None or level == self.finest(height))

    def remember(self, driving: Frame, synthesis: Synthesis, past: Frame | None) -> Past:
        level = self.finest(synthesis.frame.shape[-2])
        older = None if past is None else _newest_frames(self._as_past(past, level), self.config.past_frames - 1)
        appearance = self.appearance_of(driving) if self.config.appearance and synthesis.appearance is None else synthesis.appearance
        semantic = driving.packed().semantic if appearance is None else _append_appearance(driving.semantic, appearance)
        newest = Past(semantic, driving.keypoints, synthesis.frame, coarser=synthesis.coarser, older=older)
        return self._as_past(newest, level)

    def _as_past(self, past: Frame, level: int) -> Past:
        """The past as a `Past` with an image for every scale. A frame with only one image gets smaller copies of it."""
        result = past if isinstance(past, Past) else self._past_of_frame(past)
        if len(result.coarser) < level:
            result = replace(result, coarser=tuple(_pyramid(result.required_image, level)[1:]))
        return result

    def _past_of_frame(self, frame: Frame) -> Past:
        """A single frame as the past."""
        appearance = self.appearance_of(frame) if self.config.appearance else None
        return Past(_append_appearance(frame.semantic, appearance), frame.keypoints, frame.image)

    def _stack_labels(self, semantic: Tensor, past_frames: list[Past]) -> Tensor:
        """The semantic images of the frame and the L before it, the newest first. If fewer exist, the earliest is repeated."""
        maps = [semantic, *(frame.semantic for frame in past_frames)]
        maps += [maps[-1]] * (self.config.past_frames + 1 - len(maps))
        return torch.cat(maps, 1)

    def _stack_images(self, images: list[Tensor], like: Tensor) -> Tensor:
        """L past images [B, 3 L, H, W], the newest first, in the precision of `like`; missing ones are zeros."""
        missing = self.config.past_frames - len(images)
        zeros = like.new_zeros(like.shape[0], 3 * missing, *like.shape[-2:])
        return torch.cat([*(image.to(like.dtype) for image in images), zeros], 1)

    def _foreground_mask(self, semantic: Tensor) -> Tensor:
        """1 - m_B, [B, 1, H, W]: 1 in the foreground."""
        return semantic[:, list(self.config.foreground)].sum(1, keepdim=True).clamp(0, 1)

    def _compose(self, heads: Heads, features: Features, before: Tensor | None, foreground_mask: Tensor, base: Tensor | float) -> Synthesis:
        """The frame of one scale and its parts: equation 4, or equation 9 with a foreground.

        before: the previous image at this scale. base: what is added to the painted images before their tanh.
        """
        background = torch.tanh(heads.run(heads.image, features.image).float() + base)
        foreground_mask = foreground_mask.float()
        foreground = None
        if heads.foreground is not None:
            foreground = torch.tanh(heads.run(heads.foreground, features.foreground).float() + base)
        raw = background if foreground is None else torch.lerp(background, foreground, foreground_mask)
        if before is None or features.motion is None:
            return Synthesis(raw, raw)
        flow, logits = heads.flow_and_mask(features.motion)
        warped = warp(before, flow)
        mask = torch.sigmoid(logits)
        if foreground is not None and self.config.composite == "after":
            frame = torch.lerp(torch.lerp(warped, background, mask), foreground, foreground_mask)
        else:
            frame = torch.lerp(warped, raw, mask)
        return Synthesis(frame, raw, previous=Warped(warped, flow, logits), previous_mask=mask)


def _encode_present(network: nn.Sequential, labels: Tensor, present: Tensor) -> Tensor:
    """The features of a label encoder; `labels` and `present` as in `Scale`."""
    first = cast(nn.Conv2d, network[0])
    x = F.conv2d(F.pad(labels, (3, 3, 3, 3), mode="reflect"), first.weight[:, present], first.bias)
    features: Tensor = network[1:](x)
    return features


def _inputs(config: Vid2VidConfig) -> tuple[int, int]:
    """Channels of the stacked label maps and of the stacked past images."""
    return (config.semantic_channels + config.appearance) * (config.past_frames + 1), 3 * config.past_frames


def _append_appearance(semantic: Tensor, appearance: Tensor | None) -> Tensor:
    """s_t with z_t, if given, as further channels."""
    return semantic if appearance is None else torch.cat([semantic, appearance.to(semantic.dtype)], 1)


def _as_convolved(maps: Tensor) -> Tensor:
    """The maps in the precision in which convolutions compute under autocast, which saves memory and changes no result."""
    device = maps.device.type
    enabled = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
    return maps.to(torch.get_autocast_dtype(device)) if enabled else maps


def _before_tanh(colours: Tensor) -> Tensor:
    """The values whose tanh is the colours, in float32. Colours beyond +-0.95 are moved there, so that the values stay below 2."""
    return torch.atanh(colours.float().clamp(-0.95, 0.95))


def _nonzero_channels(maps: Tensor) -> Tensor:
    """The numbers of the channels of maps [B, N, H, W] that are not zero everywhere."""
    return maps.flatten(2).any(2).any(0).nonzero()[:, 0]


def _pyramid(image: Tensor, levels: int) -> list[Tensor]:
    """The image [B, C, H, W] and `levels` copies of it, each half as large as the one before; the largest first."""
    sizes = [image]
    for _ in range(levels):
        sizes.append(half_size(sizes[-1]))
    return sizes


def _newest_frames(past: Past, count: int) -> Past | None:
    """The past with only its newest `count` frames; None if `count` is 0."""
    if count <= 0:
        return None
    return replace(past, older=None if past.older is None else _newest_frames(past.older, count - 1))
