"""Clips of whatever a caller names: a path, a clip or arrays of frames. What has to be made on the way lies in a temporary folder."""

from __future__ import annotations

import contextlib
import importlib
import tempfile
from collections.abc import Iterator, Sequence
from fractions import Fraction
from os import PathLike
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from fsv2v.reporting import Reporter
from stages.clip import Clip, as_clip, create_clip, list_pictures
from stages.clip import open_clip as open_clip_folder
from stages.clip.clip import is_clip
from stages.clip.create import borrowed, clip_path
from stages.clip.importers import import_clips
from stages.conditions.kinds import find, kinds
from stages.errors import Fsv2vError, InputError, NoDetection, UsageError
from stages.runner import Outcome

Source: TypeAlias = "str | PathLike[str] | Clip | NDArray[np.uint8]"
"""A path, a clip, an image [H, W, 3] or a video [T, H, W, 3], both uint8 RGB."""
Examples: TypeAlias = "Source | Sequence[Source] | None"
"""One or several sources that show one subject."""


def open_clip(source: Source, out: str | PathLike[str] | None = None, *, fps: float = 25) -> Clip:
    """The clip at a path; of a video, an image, a folder of images or arrays the clip that is made of it.

    out: where it is made, NAME.clip or a folder; by default in the current folder. fps: the rate of arrays and images.

    Raises InputError for a file that is no video, image or clip, UsageError for arrays without `out`, ParametersDiffer when another clip is
    there.
    """
    if isinstance(source, Clip):
        return source
    if isinstance(source, np.ndarray):
        return _clip_of_array(source, Path(_required(out)), fps)
    path = Path(source)
    return (
        open_clip_folder(path)
        if is_clip(path)
        else as_clip(path, None if out is None else Path(out), fps=None if fps == 25 else Fraction(fps))
    )


def _required(out: str | PathLike[str] | None) -> str | PathLike[str]:
    if out is None:
        raise UsageError("a clip of arrays needs a place", hint="name it with out")
    return out


def _clip_of_array(frames: NDArray[np.uint8], out: Path, fps: float) -> Clip:
    images = frames[None] if frames.ndim == 3 else frames
    if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != np.uint8:
        raise InputError(f"frames are uint8 [T, H, W, 3], one is [H, W, 3]; this array is {frames.dtype} {list(frames.shape)}")
    return create_clip(out, iter(images), fps=Fraction(fps).limit_denominator(1001), storage="png")


class TemporaryClips:
    """A folder for clips that are made on the way and not kept, and what the caller calls them."""

    def __init__(self, folder: Path, reporter: Reporter) -> None:
        self.folder, self.reporter = folder, reporter
        self.given: dict[str, str] = {}

    def place_for(self, source: Path) -> Path:
        """Where a clip of `source` can be made; it has the same name."""
        place = clip_path(source, self.folder / str(len(self.given)))
        self.given[str(place)] = str(source)
        return place

    def plain(self, text: str) -> str:
        """A sentence about clips that are made here as one about what the caller gave."""
        for place, source in self.given.items():
            text = text.replace(place, source)
        return text


@contextlib.contextmanager
def temporary_clips(reporter: Reporter) -> Iterator[TemporaryClips]:
    """Errors that leave the block are about what the caller gave."""
    with tempfile.TemporaryDirectory(prefix="fsv2v-") as folder:
        place = TemporaryClips(Path(folder), reporter)
        try:
            yield place
        except Fsv2vError as error:
            error.args, error.hint = (place.plain(error.args[0]),), place.plain(error.hint)
            raise


def driving_clip(source: Source, place: TemporaryClips, *, fps: float = 25) -> Clip:
    """Of a clip, a layer's folder inside one, a video, a folder of images or of OpenPose JSON files, or frames [T, H, W, 3]."""
    if isinstance(source, Clip):
        return source
    if isinstance(source, np.ndarray):
        return _clip_of_array(source, place.place_for(Path("driving")), fps)
    return open_or_import(clip_of_layer(Path(source)), place)


def open_or_import(path: Path, place: TemporaryClips) -> Clip:
    """A clip where it lies; anything else that can be imported as a clip in `place`."""
    return open_clip_folder(path) if is_clip(path) else import_clips(path, place.place_for(path))[0]


def clip_of_layer(path: Path) -> Path:
    """The clip whose layer's folder this is; any other path as it is."""
    layers = {"sketch", *(kind.layer for kind in kinds().values())}
    return path.parent if path.name in layers and (path.parent / "clip.json").is_file() else path


def examples_with_layer(sources: Source | Sequence[Source], kind: str, place: TemporaryClips, *, device: str, backend: str) -> list[Clip]:
    """The example clips with their layer. Images in which nothing is found are left out, with a warning, while others remain."""
    found: list[Clip] = []
    failed: list[NoDetection] = []
    for clip in example_clips(sources, place):
        try:
            found.append(with_layer(clip, kind, place, device=device, backend=backend))
        except NoDetection as error:
            failed.append(error)
    if not found:
        raise failed[0] if failed else InputError(f"{sources} holds no example")
    for reason in failed:
        place.reporter.warning(place.plain(str(reason)))
    return found


def example_clips(sources: Source | Sequence[Source], place: TemporaryClips) -> list[Clip]:
    """One clip for each image of a folder; one for an image, a video or a clip; all of those of several sources."""
    if isinstance(sources, Sequence) and not isinstance(sources, str):
        return [clip for source in sources for clip in example_clips(source, place)]
    if isinstance(sources, Clip):
        return [sources]
    if isinstance(sources, np.ndarray):
        return [_clip_of_array(sources, place.place_for(Path(f"example-{len(place.given)}")), 25)]
    path = Path(sources)
    if is_clip(path):
        return [open_clip_folder(path)]
    if path.is_dir():
        return [as_clip(picture, place.place_for(picture)) for picture in list_pictures(path, sequence=False)]
    return [as_clip(path, place.place_for(path))]


def with_layer(clip: Clip, kind: str, place: TemporaryClips, *, device: str, backend: str) -> Clip:
    """`clip` if it has the layer `kind`; otherwise a clip in `place` of the same frames, from which the layer was extracted."""
    wanted = find(kind)
    if all(map(clip.has, wanted.layers)):
        return clip
    if not wanted.extractor:
        raise InputError(f"{clip.path} lacks a layer of {kind!r}, which cannot be made on the way", hint="see `fsv2v clip import --help`")
    if str(clip.path) not in place.given:
        clip = borrowed(clip, place.place_for(clip.path))
    place.reporter.note(f"{clip.id}: extracting {wanted.layer}")
    module, _, function = wanted.extractor.partition(":")
    outcome: Outcome = getattr(importlib.import_module(module), function)(clip, backend, device)
    place.reporter.notes_of(place.plain(str(clip.path)), outcome.notes)
    return open_clip_folder(clip.path)
