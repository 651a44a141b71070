"""Functions that add layers to a clip: landmarks and sketches, poses, label maps."""

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
    """Add landmarks and face sketches to a clip, which is first made if `source` is a video, an image or an array. Returns the clip.

    out: where the clip is made, see `open_clip`.
    options: the fields of `stages.extract_sketch.SketchOptions`: backend, background, face, smoothing, device.

    Raises NoDetection when no frame shows a face, ParametersDiffer when the clip has these layers with other options and `overwrite` is not
    set, and what `open_clip` raises.
    """
    from stages.extract_sketch import SketchOptions, extract

    return _add_layers(extract, SketchOptions(**options), source, out, overwrite, reporter)


def extract_poses(
    source: Source, out: str | PathLike[str] | None = None, *, overwrite: bool = False, reporter: Reporter | None = None, **options: Any
) -> Clip:
    """As `extract_sketch`, for body poses. options: the fields of `stages.extract_poses.PoseOptions`."""
    from stages.extract_poses import PoseOptions, extract

    return _add_layers(extract, PoseOptions(**options), source, out, overwrite, reporter)


def segment(
    source: Source, out: str | PathLike[str] | None = None, *, overwrite: bool = False, reporter: Reporter | None = None, **options: Any
) -> Clip:
    """As `extract_sketch`, for label maps. options: the fields of `stages.segment.SegmentOptions`."""
    from stages.segment import SegmentOptions, extract

    return _add_layers(extract, SegmentOptions(**options), source, out, overwrite, reporter)


def _add_layers(
    extract: Callable[..., Outcome],
    options: Any,
    source: Source,
    out: str | PathLike[str] | None,
    overwrite: bool,
    reporter: Reporter | None,
) -> Clip:
    clip = open_clip(source, out)
    outcome = extract(clip, options, overwrite)
    (reporter or Reporter()).warn_about(str(clip.path), outcome.notes)
    return open_clip(clip.path)
