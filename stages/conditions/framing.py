"""How the images of a clip become those of a model: crops of heads or bodies, else the whole image; and examples cut that way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import torch

from stages.clip import Clip
from stages.conditions.kinds import open_track
from stages.conditions.tracks import DetectorNoise, Track
from stages.conditions.view import View
from stages.errors import InputError, NoDetection
from stages.networks.common.frame import Frame
from stages.networks.common.images import image_tensor

Crop = Literal["auto", "subject", "none"]
FILLED_SHARE = 0.9
"""A crop of at least this share of the image's height is replaced by the whole image; clips that are already crops have 0.97 and more."""


@dataclass(frozen=True)
class Sample:
    """One frame of a clip as a model sees it."""

    semantic: np.ndarray
    """float32 [S, H, W]."""
    keypoints: np.ndarray
    """float32 [N, 3] in pixels."""
    image: np.ndarray | None = None
    """uint8 [H, W, 3]; None where only what drives is of interest."""
    regions: np.ndarray | None = None
    """int32 [H, W]: see `Track.regions`; None if not asked for."""
    appearance: np.ndarray | None = None
    """float32 [D, H, W] in [-1, 1]: the appearance that was chosen for each pixel, if any."""

    @property
    def required_image(self) -> np.ndarray:
        """`image` of a sample that must have one."""
        assert self.image is not None
        return self.image


def sample_of(
    track: Track, index: int, view: View, image: np.ndarray | None = None, noise: DetectorNoise | None = None, *, regions: bool = False
) -> Sample:
    """The frame `index` of a track through a view; `image` is the frame's image, already through the view."""
    found = track.regions(index, view) if regions else None
    return Sample(track.semantic(index, view, noise), track.keypoints(index, view, noise), image, found)


@dataclass(frozen=True)
class Example:
    """One example as the model sees it: the frame `index` of a clip, and what is drawn of it, through a view."""

    clip: Clip
    track: Track
    index: int
    view: View
    sample: Sample
    warnings: tuple[str, ...] = ()

    def through(self, after: View) -> Example:
        """This example as another view of it shows it.

        Both are made from the clip again, not transformed: pixels from beyond the old border are the clip's where it has them, else
        mirrored, and a mirrored view is drawn with the person's left and right exchanged.
        """
        view = self.view.then(after)
        return replace(self, view=view, sample=sample_of(self.track, self.index, view, view.image(self._frame)))

    @cached_property
    def _frame(self) -> np.ndarray:
        return self.clip.frame(self.index)


def views(clip: Clip, track: Track, size: tuple[int, int], mode: Crop) -> list[View]:
    """One view per frame onto images of `size` (height, width).

    auto: cropped to the subject, the head of a face or the whole of a body, unless that fills the image already (as in what
    build-dataset makes). Label maps have no subject.
    """
    boxes = track.crops(clip, size[1] / size[0])
    whole = View.scaled(clip.height, clip.width, *size)
    if boxes is None or mode == "none" or (mode == "auto" and _fills(boxes, clip) and not whole.squeezes):
        return [whole] * clip.num_frames
    return [View.crop(box, *size) for box in boxes]


def _fills(boxes: np.ndarray, clip: Clip) -> bool:
    """Whether crops [T, 3] (left, top, height) are nearly the whole image in most frames."""
    return bool(np.median(boxes[:, 2]) > FILLED_SHARE * clip.height)


def examples_of(clip: Clip, kind: str, size: tuple[int, int], mode: Crop, most: int, span: slice = slice(None)) -> list[Example]:
    """At most `most` examples, evenly spaced over those frames of a clip, or of its part `span`, on which something is seen.

    Raises InputError for an empty part, NoDetection when nothing is seen in it.
    """
    track = open_track(clip, kind)
    part = range(track.num_frames)[span]
    if not part:
        raise InputError(f"{clip.path} has {track.num_frames} frames, and none of them is asked for", hint="Name others as examples")
    seen = [index for index in part if track.seen(index)]
    if not seen:
        raise NoDetection(f"nothing was detected in the example {clip.path}", hint="Use an image in which the face is well visible")
    chosen = [seen[round(i)] for i in np.linspace(0, len(seen) - 1, min(most, len(seen)))] if most > 1 else seen[:1]
    frames = views(clip, track, size, mode)
    return [_example(clip, track, index, frames[index]) for index in sorted(set(chosen))]


def frame_of(samples: Sequence[Sample], device: torch.device) -> Frame:
    """Sample frames of one size as tensors, [K, ...]; images in [-1, 1], regions and appearance where they all have them."""
    images, regions, appearance = (_stacked([getattr(s, name) for s in samples]) for name in ("image", "regions", "appearance"))
    semantics, keypoints = np.stack([sample.semantic for sample in samples]), np.stack([sample.keypoints for sample in samples])
    return Frame(
        torch.from_numpy(semantics).to(device),
        torch.from_numpy(keypoints).to(device),
        None if images is None else image_tensor(images).to(device),
        None if regions is None else torch.from_numpy(regions).to(device),
        None if appearance is None else torch.from_numpy(appearance).to(device),
    )


def _stacked(arrays: Sequence[np.ndarray | None]) -> np.ndarray | None:
    given = [array for array in arrays if array is not None]
    return np.stack(given) if len(given) == len(arrays) else None


def _example(clip: Clip, track: Track, index: int, view: View) -> Example:
    warnings = squeezed(clip, view) + track.quality_warnings(index, clip)
    return Example(clip, track, index, view, sample_of(track, index, view, view.image(clip.frame(index))), warnings)


def squeezed(clip: Clip, view: View) -> tuple[str, ...]:
    """A warning, if the view changes the shape of what the clip shows."""
    shapes = f"{clip.id} has {clip.width}x{clip.height} pixels and is squeezed to {view.width}x{view.height}"
    return (f"{shapes}: crop it to that shape first, or let its subject be cropped",) if view.squeezes else ()
