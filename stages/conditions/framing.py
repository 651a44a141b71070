"""Frames of a clip as a model sees them, cropped to the head or body or as whole images; and examples, which are cropped likewise."""

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
"""With "auto", the whole image is used if crops are higher than this share of its height. In clips of a dataset, the share is at least
0.97."""


@dataclass(frozen=True)
class Sample:
    """One frame of a clip as a model sees it."""

    semantic: np.ndarray
    """float32 [S, H, W]."""
    keypoints: np.ndarray
    """float32 [N, 3] in pixels."""
    image: np.ndarray | None = None
    """uint8 [H, W, 3]; None for driving frames, whose image is not needed."""
    regions: np.ndarray | None = None
    """int32 [H, W]: see `Track.regions`; None if not asked for."""
    appearance: np.ndarray | None = None
    """float32 [D, H, W]: the appearance features of each pixel; None for models without them."""

    @property
    def required_image(self) -> np.ndarray:
        """`image` of a sample that must have one."""
        assert self.image is not None
        return self.image


def sample_of(
    track: Track, index: int, view: View, image: np.ndarray | None = None, noise: DetectorNoise | None = None, *, regions: bool = False
) -> Sample:
    """The frame `index` of a track through a view. `image`: the image of that frame, already transformed by the view."""
    region_map = track.regions(index, view) if regions else None
    return Sample(track.semantic(index, view, noise), track.keypoints(index, view, noise), image, region_map)


@dataclass(frozen=True)
class Example:
    """The frame `index` of a clip as an example for the model; `sample` is that frame through `view`."""

    clip: Clip
    track: Track
    index: int
    view: View
    sample: Sample
    warnings: tuple[str, ...] = ()

    def through(self, after: View) -> Example:
        """This example, transformed by the further view `after`.

        The sample is made from the clip again: pixels beyond the old border come from the clip's frame. Only that frame is continued by
        reflection. If the view mirrors, left and right of the person are exchanged in the drawing.
        """
        view = self.view.then(after)
        return replace(self, view=view, sample=sample_of(self.track, self.index, view, view.image(self._frame)))

    @cached_property
    def _frame(self) -> np.ndarray:
        return self.clip.frame(self.index)


def views(clip: Clip, track: Track, size: tuple[int, int], mode: Crop) -> list[View]:
    """One view per frame onto images of `size` (height, width).

    subject: crops around the head or the whole body. none: the whole image. auto: as subject, unless the crops are nearly the whole
    image, as in the clips of a dataset, and the image has the aspect ratio of `size`. Label maps have no subject and are never cropped.
    """
    boxes = _crops(clip, track, size, mode)
    return [View.scaled(clip.height, clip.width, *size)] * clip.num_frames if boxes is None else [View.crop(box, *size) for box in boxes]


def shows_whole(clip: Clip, track: Track, size: tuple[int, int], mode: Crop) -> bool:
    """Whether `views` shows whole images."""
    return _crops(clip, track, size, mode) is None


def _crops(clip: Clip, track: Track, size: tuple[int, int], mode: Crop) -> np.ndarray | None:
    """The crops [T, 3] (left, top, height) of `views`; None for whole images."""
    boxes = track.crops(clip, size[1] / size[0])
    if boxes is None or mode == "none":
        return None
    squeezes = View.scaled(clip.height, clip.width, *size).squeezes
    return None if mode == "auto" and _fill_image(boxes, clip) and not squeezes else boxes


def _fill_image(boxes: np.ndarray, clip: Clip) -> bool:
    """Whether crops [T, 3] (left, top, height) are nearly the whole image in most frames."""
    return bool(np.median(boxes[:, 2]) > FILLED_SHARE * clip.height)


def examples_of(clip: Clip, kind: str, size: tuple[int, int], mode: Crop, max_count: int, span: slice = slice(None)) -> list[Example]:
    """At most `max_count` examples of `size` (height, width), evenly spaced over the frames of `span` that show the subject.

    Raises InputError if `span` selects no frame, NoDetection if none of its frames shows the subject.
    """
    track = open_track(clip, kind)
    indices = range(track.num_frames)[span]
    if not indices:
        raise InputError(f"{clip.path} has {track.num_frames} frames, and none of them is asked for", hint="Name others as examples")
    seen = [index for index in indices if track.seen(index)]
    if not seen:
        raise NoDetection(f"nothing was detected in the example {clip.path}", hint="Use an image in which the face is well visible")
    chosen = [seen[round(i)] for i in np.linspace(0, len(seen) - 1, min(max_count, len(seen)))] if max_count > 1 else seen[:1]
    frames = views(clip, track, size, mode)
    return [_example(clip, track, index, frames[index]) for index in sorted(set(chosen))]


def frame_of(samples: Sequence[Sample], device: torch.device) -> Frame:
    """K samples of one size as one Frame of tensors [K, ...]; images are in [-1, 1]. A field that any sample lacks is None."""
    images, regions, appearance = (_stack_optional([getattr(s, name) for s in samples]) for name in ("image", "regions", "appearance"))
    semantics, keypoints = np.stack([sample.semantic for sample in samples]), np.stack([sample.keypoints for sample in samples])
    return Frame(
        torch.from_numpy(semantics).to(device),
        torch.from_numpy(keypoints).to(device),
        None if images is None else image_tensor(images).to(device),
        None if regions is None else torch.from_numpy(regions).to(device),
        None if appearance is None else torch.from_numpy(appearance).to(device),
    )


def _stack_optional(arrays: Sequence[np.ndarray | None]) -> np.ndarray | None:
    """The arrays as one, or None if one of them is None."""
    present = [array for array in arrays if array is not None]
    return np.stack(present) if len(present) == len(arrays) else None


def _example(clip: Clip, track: Track, index: int, view: View) -> Example:
    warnings = squeeze_warnings(clip, view) + track.quality_warnings(index, clip)
    return Example(clip, track, index, view, sample_of(track, index, view, view.image(clip.frame(index))), warnings)


def squeeze_warnings(clip: Clip, view: View) -> tuple[str, ...]:
    """A warning if the view changes the ratio of width to height noticeably, else nothing."""
    change = f"{clip.id} has {clip.width}x{clip.height} pixels and is squeezed to {view.width}x{view.height}"
    return (f"{change}: crop it to that shape first, or let its subject be cropped",) if view.squeezes else ()
