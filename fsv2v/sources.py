"""Open the sources that a caller gives (paths, clips or arrays of frames) as clips. Intermediate clips are made in a temporary folder."""

from __future__ import annotations

import contextlib
import importlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fsv2v.reporting import Reporter
from stages.clip import Clip, as_clip, create_clip, list_images
from stages.clip import open_clip as open_clip_folder
from stages.clip.clip import is_clip
from stages.clip.create import clip_path, link_clip
from stages.clip.importers import import_clips
from stages.conditions.kinds import find_kind, kinds, require_layers
from stages.errors import Fsv2vError, InputError, NoDetection, Sentence, UsageError
from stages.runner import Outcome

Source: TypeAlias = "str | PathLike[str] | Clip | NDArray[np.uint8]"
"""A path, a clip, an image [H, W, 3] or a video [T, H, W, 3], both uint8 RGB."""
Subject: TypeAlias = str | int
"""Which face or person: "largest", "center", or a number from the left, from 0."""
Examples: TypeAlias = "Source | Sequence[Source] | None"
"""One or several sources that show one subject; None for a model without examples."""


def open_clip(source: Source, out: str | PathLike[str] | None = None, *, fps: float = 25) -> Clip:
    """Open the clip at a path. A video, an image, a folder of images or an array is first turned into a clip.

    out: where the clip is made, NAME.clip or a folder; by default the current folder.
    fps: the rate of arrays and images.

    Raises InputError for a file that is not a video, image or clip, UsageError for arrays without `out`, ParametersDiffer when `out` is a
    clip of something else.
    """
    if isinstance(source, Clip):
        return source
    if isinstance(source, np.ndarray):
        if out is None:
            raise UsageError("a clip of an array needs a path", hint="Give the path as out")
        return _clip_of_array(source, Path(out), fps)
    path = Path(source)
    if is_clip(path):
        return open_clip_folder(path)
    return as_clip(path, None if out is None else Path(out), fps=None if fps == 25 else Fraction(fps))


def _clip_of_array(frames: NDArray[np.uint8], out: Path, fps: float) -> Clip:
    images = frames[None] if frames.ndim == 3 else frames
    if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != np.uint8:
        raise InputError(f"an image is a uint8 array [H, W, 3], a video [T, H, W, 3]; this array is {frames.dtype} {list(frames.shape)}")
    return create_clip(out, iter(images), fps=Fraction(fps).limit_denominator(1001), storage="png")


class TemporaryClips:
    """A folder for intermediate clips, and the sources from which they were made."""

    def __init__(self, folder: Path, reporter: Reporter) -> None:
        self.folder, self.reporter = folder, reporter
        self.sources: dict[str, str] = {}
        """Path of an intermediate clip -> the path that the caller gave."""

    def path_for(self, source: Path) -> Path:
        """A path for an intermediate clip of `source`, with the same name."""
        path = clip_path(source, self.folder / str(len(self.sources)))
        self.sources[str(path)] = str(source)
        return path

    def with_sources(self, text: str) -> str:
        """Replace the paths of intermediate clips in a text by the paths that the caller gave."""
        if isinstance(text, Sentence):
            facts = self.facts_with_sources(text.facts)
            return Sentence(self.with_sources(text.message), hint=self.with_sources(text.hint), code=text.code, facts=facts)
        for path, source in self.sources.items():
            text = text.replace(path, source)
        return text

    def facts_with_sources(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        """As `with_sources`, for the facts of a sentence."""
        return {name: self.with_sources(value) if isinstance(value, str) else value for name, value in facts.items()}

    @contextlib.contextmanager
    def named(self) -> Iterator[None]:
        """Let errors that leave the block name the paths that the caller gave."""
        try:
            yield
        except Fsv2vError as error:
            error.args = (self.with_sources(error.message),)
            error.hint, error.facts = self.with_sources(error.hint), self.facts_with_sources(error.facts)
            raise


@contextlib.contextmanager
def temporary_clips(reporter: Reporter) -> Iterator[TemporaryClips]:
    """Intermediate clips, which exist while the block runs. Errors from the block name the paths that the caller gave."""
    with tempfile.TemporaryDirectory(prefix="fsv2v-") as folder:
        temporary = TemporaryClips(Path(folder), reporter)
        with temporary.named():
            yield temporary


def driving_clip(source: Source, temporary: TemporaryClips, *, fps: float = 25) -> Clip:
    """Open the driving clip.

    source: a clip, the folder of one of its layers, a video, a folder of images or of OpenPose JSON files, or frames [T, H, W, 3].
    """
    if isinstance(source, Clip):
        return source
    if isinstance(source, np.ndarray):
        return _clip_of_array(source, temporary.path_for(Path("driving")), fps)
    return open_or_import(clip_of_layer(Path(source)), temporary)


def open_or_import(path: Path, temporary: TemporaryClips) -> Clip:
    """Open the clip at `path`, or import anything else as an intermediate clip."""
    return open_clip_folder(path) if is_clip(path) else import_clips(path, temporary.path_for(path))[0]


def clip_of_layer(path: Path) -> Path:
    """The clip that contains `path` if `path` is the folder of a driving layer, else `path`."""
    layers = {"sketch", *(kind.layer for kind in kinds().values())}
    return path.parent if path.name in layers and (path.parent / "clip.json").is_file() else path


def examples_with_layer(
    sources: Source | Sequence[Source], kind: str, temporary: TemporaryClips, *, device: str, backend: str, subject: Subject = "largest"
) -> list[Clip]:
    """The example clips with the layers of a driving kind (see `with_layer`).

    Clips in which nothing is detected are left out with a warning. Raises NoDetection when nothing is detected in any clip.
    """
    found: list[Clip] = []
    failed: list[NoDetection] = []
    for clip in example_clips(sources, temporary):
        try:
            found.append(with_layer(clip, kind, temporary, device=device, backend=backend, subject=subject))
        except NoDetection as error:
            failed.append(error)
    if not found:
        raise failed[0] if failed else InputError(f"{sources} contains no example")
    for reason in failed:
        temporary.reporter.warning(temporary.with_sources(str(reason)))
    return found


def example_clips(sources: Source | Sequence[Source], temporary: TemporaryClips) -> list[Clip]:
    """The clips of all sources: one for each image of a folder, and one for any other source."""
    if isinstance(sources, Sequence) and not isinstance(sources, str):
        return [clip for source in sources for clip in example_clips(source, temporary)]
    if isinstance(sources, Clip):
        return [sources]
    if isinstance(sources, np.ndarray):
        return [_clip_of_array(sources, temporary.path_for(Path(f"example-{len(temporary.sources)}")), 25)]
    path = Path(sources)
    if is_clip(path):
        return [open_clip_folder(path)]
    if path.is_dir():
        return [as_clip(image, temporary.path_for(image)) for image in list_images(path, sequence=False)]
    return [as_clip(path, temporary.path_for(path))]


def with_layer(clip: Clip, kind: str, temporary: TemporaryClips, *, device: str, backend: str, subject: Subject = "largest") -> Clip:
    """`clip` if it has the layers of the driving kind `kind`; else an intermediate clip of the same frames with the extracted layer.

    subject: the one whose layer is extracted. Raises UsageError if a subject is chosen and the layers exist, because they may be those of
    another subject.
    """
    driving_kind = find_kind(kind)
    if all(map(clip.has, driving_kind.layers)):
        if subject != "largest":
            raise UsageError(
                f"{clip.path} already has the layer {driving_kind.layer}, so the subject can no longer be chosen", code="subject-chosen"
            )
        return clip
    if clip.has(driving_kind.layer):  # the others cannot be extracted
        require_layers(clip, kind)
    if not driving_kind.extractor:
        raise InputError(f"{clip.path} lacks a layer of {kind!r}, which cannot be extracted", code="layer-to-import")
    if subject != "largest" and driving_kind.cover is None:
        raise UsageError(f"{driving_kind.layer} has no subjects to choose from", code="no-subjects")
    if str(clip.path) not in temporary.sources:
        clip = link_clip(clip, temporary.path_for(clip.path))
    temporary.reporter.note(f"{clip.id}: extracting {driving_kind.layer}")
    module, _, function = driving_kind.extractor.partition(":")
    choice = {} if subject == "largest" else {"subject": subject}
    outcome: Outcome = getattr(importlib.import_module(module), function)(clip, backend, device, **choice)
    temporary.reporter.warn_about(temporary.with_sources(str(clip.path)), outcome.notes)
    return open_clip_folder(clip.path)
