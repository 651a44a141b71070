"""The stages that add a layer to a clip: landmarks and sketches, poses, label maps."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike
from typing import Any

from fsv2v.reporting import Reporter
from fsv2v.sources import Source, open_clip
from stages.clip import Clip
from stages.runner import Outcome


def extract_sketch(
    source: Source, out: str | PathLike[str] | None = None, *, overwrite: bool = False, reporter: Reporter | None = None, **options: Any
) -> Clip:
    """The clip of a video, image or array with its landmarks and face sketch; a clip gets them in its place.

    out: see `open_clip`. options: the fields of `stages.extract_sketch.SketchOptions`: backend, background, face, smoothing, device. Raises
    NoDetection when no frame shows a face, ParametersDiffer when other layers are there and `overwrite` is not set, and what `open_clip`
    raises.
    """
    from stages.extract_sketch import SketchOptions, extract

    return _with(extract, SketchOptions(**options), source, out, overwrite, reporter)


def extract_poses(
    source: Source, out: str | PathLike[str] | None = None, *, overwrite: bool = False, reporter: Reporter | None = None, **options: Any
) -> Clip:
    """As `extract_sketch`, with body poses. options: the fields of `stages.extract_poses.PoseOptions`."""
    from stages.extract_poses import PoseOptions, extract

    return _with(extract, PoseOptions(**options), source, out, overwrite, reporter)


def segment(
    source: Source, out: str | PathLike[str] | None = None, *, overwrite: bool = False, reporter: Reporter | None = None, **options: Any
) -> Clip:
    """As `extract_sketch`, with label maps. options: the fields of `stages.segment.SegmentOptions`."""
    from stages.segment import SegmentOptions, extract

    return _with(extract, SegmentOptions(**options), source, out, overwrite, reporter)


def _with(
    extract: Callable[..., Outcome],
    options: Any,
    source: Source,
    out: str | PathLike[str] | None,
    overwrite: bool,
    reporter: Reporter | None,
) -> Clip:
    clip = open_clip(source, out)
    outcome = extract(clip, options, overwrite)
    (reporter or Reporter()).notes_of(str(clip.path), outcome.notes)
    return open_clip(clip.path)
