"""The stage: label maps, made or imported, as the layer `segment`; of persons also the layer `mask`."""

from __future__ import annotations

import hashlib
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stages.backends import Backend, Backends
from stages.clip import Clip, Producer, list_pictures
from stages.conditions import labels as tables
from stages.errors import BadInput, NoDetection, UsageProblem
from stages.runner import Outcome
from stages.streaming import beside

STAGE = "segment"


@dataclass(frozen=True)
class SegmentOptions:
    """What shapes the label maps; all but `device` enters the layers' keys.

    backend: person, labels, or auto: labels if a folder is given, else person. labels: the folder to import, where {stem} stands for the
    name of the clip's source without its ending; without it the backend `labels` looks beside the source for STEM_labels or STEMannot.
    table: what the imported ids mean, see stages.conditions.labels.
    """

    backend: str = "auto"
    labels: str | None = None
    table: str = "camvid"
    device: str = "auto"


def extract(clip: Clip, options: SegmentOptions, overwrite: bool = False) -> Outcome:
    """Label every pixel of `clip`.

    Backend `person` writes `mask` (0 or 255) and `segment` (0 background, 1 person); `labels` writes `segment`, ids with the names and
    palette of the table. Raises NoDetection when no frame shows a person, BadInput when the label maps do not fit the clip.
    """
    if options.backend == "person" and options.labels is not None:
        raise UsageProblem("Label maps are imported or persons are searched, not both", hint="Leave out --labels or --backend person")
    name = ("person" if options.labels is None else "labels") if options.backend == "auto" else options.backend
    backend = Backends("segment").require(name)
    return _import(clip, backend, options, overwrite) if name == "labels" else _persons(clip, backend, options, overwrite)


def _persons(clip: Clip, backend: Backend, options: SegmentOptions, overwrite: bool) -> Outcome:
    producer = Producer(STAGE, backend.name, {}, backend.weight_digests(), device=options.device)
    inputs = {"frames": clip.frames_digest()}
    needed = [kind for kind in ("mask", "segment") if clip.needs(kind, producer, inputs, overwrite)]
    if not needed:
        return Outcome("segment", "skipped", clip.num_frames)
    metas: dict[str, dict[str, Any]] = {"mask": {}, "segment": tables.PERSON.meta()}
    with ExitStack() as stack:
        writers = {kind: stack.enter_context(clip.writing(kind, producer, inputs, metas[kind])) for kind in needed}
        empty = 0
        for _, mask in beside(backend.open(options.device), clip.frames()):
            empty += not mask.any()
            for kind, writer in writers.items():
                writer.image(mask * np.uint8(255 if kind == "mask" else 1))
        if empty == clip.num_frames:
            raise NoDetection(
                f"No person was found in any of the {clip.num_frames} frames of {clip.path}", hint="Import label maps with --labels instead"
            )
    return Outcome("segment", "done", clip.num_frames, {"frames_without_person": empty})


def _import(clip: Clip, backend: Backend, options: SegmentOptions, overwrite: bool) -> Outcome:
    files = list_pictures(_folder(clip, options.labels))
    if len(files) != clip.num_frames:
        raise BadInput(f"{files[0].parent} holds {len(files)} label maps, but {clip.path} has {clip.num_frames} frames")
    table = tables.table(options.table)
    producer = Producer(STAGE, backend.name, {"table": table.meta()})
    inputs = {"frames": clip.frames_digest(), "labels": _digest(files)}
    if not clip.needs("segment", producer, inputs, overwrite):
        return Outcome("segment", "skipped", clip.num_frames)
    read = backend.open(options.device)
    with clip.writing("segment", producer, inputs, table.meta()) as segment:
        for _, image in beside(lambda file: read(file, table, clip.width, clip.height), files):
            segment.image(image)
    return Outcome("segment", "done", clip.num_frames)


def _folder(clip: Clip, given: str | None) -> Path:
    source = clip.source_path() or clip.path
    stem = source.name if source.is_dir() and source.suffix != ".clip" else source.stem
    if given is not None:
        return Path(given.replace("{stem}", stem))
    places = [source.parent / f"{stem}{ending}" for ending in ("_labels", "annot")]
    for folder in places:
        if folder.is_dir():
            return folder
    raise BadInput(f"There are no label maps beside {source}", hint=f"Name their folder with --labels, or call it {places[0].name}")


def _digest(files: list[Path]) -> str:
    """sha256 over the names and contents of `files`."""
    lines = (f"{file.name}\0{hashlib.sha256(file.read_bytes()).hexdigest()}\n" for file in files)
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()
