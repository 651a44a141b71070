"""The stage: label maps, predicted or imported, as the layer `segment`; for people also the layer `mask`."""

from __future__ import annotations

import hashlib
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from stages.backends import Backend, Backends
from stages.clip import Clip, Producer, list_images
from stages.compute.streaming import map_in_thread
from stages.conditions import labels as tables
from stages.errors import InputError, NoDetection, UsageError
from stages.runner import Outcome
from stages.segment.backends import DEFAULT_MODELS, LabellerOpener, LabelMapReader, PersonFinder, SegmentBackend, labels, person
from stages.segment.edit import lookup_of
from stages.segment.steady import Steady

STAGE = "segment"


@dataclass(frozen=True)
class SegmentOptions:
    """What shapes the label maps; all but `device` enters the layers' keys.

    backend: street, segformer, person, labels, or auto: labels if a folder is given, else street. model: a checkpoint for segformer.
    labels: the folder to import, where {stem} stands for the name of the clip's source without its suffix; without it the backend
    `labels` looks beside the source for STEM_labels or STEMannot. table: the meaning of imported ids, see stages.conditions.labels. edits:
    "tree=building" turns trees into buildings. smoothing: weight of the previous frame, for networks.
    """

    backend: str = "auto"
    model: str | None = None
    labels: str | None = None
    table: str = "camvid"
    edits: tuple[str, ...] = ()
    smoothing: float = 1.0
    device: str = "auto"


def extract(clip: Clip, options: SegmentOptions, overwrite: bool = False) -> Outcome:
    """Label every pixel of `clip`.

    Writes `segment`, ids with the names and palette of their table; the backend `person` also writes `mask` (0 or 255). Raises
    NoDetection when no frame shows a person, InputError when label maps do not fit the clip.
    """
    backend = _backend(clip, options)
    if backend.name == "labels":
        return _import(clip, labels.BACKEND, options, overwrite)
    if backend.name == "person":
        return _persons(clip, person.BACKEND, options, overwrite)
    return _label(clip, cast("Backend[LabellerOpener]", backend), options, overwrite)


def _backend(clip: Clip, options: SegmentOptions) -> Backend[SegmentBackend]:
    if options.backend not in ("auto", "labels") and options.labels is not None:
        raise UsageError("Label maps are either imported or predicted", code="labels-or-backend", facts={"backend": options.backend})
    if options.model is not None and options.backend not in DEFAULT_MODELS:
        raise UsageError("A model needs its backend", code="model-without-backend", facts={"backends": " or ".join(DEFAULT_MODELS)})
    if not 0 <= options.smoothing <= 100:
        raise UsageError(f"Smoothing cannot be {options.smoothing}", hint="Choose a number from 0 (off); 1 is the default")
    if options.labels is not None:
        return Backends("segment").require("labels")
    return Backends("segment").require_for(clip, "segment", options.backend)


def _label(clip: Clip, backend: Backend[LabellerOpener], options: SegmentOptions, overwrite: bool) -> Outcome:
    labeller = backend.open(options.device)(options.model)
    lookup = lookup_of(options.edits, labeller.table)
    parameters = {"model": options.model, "edits": list(options.edits), "smoothing": float(options.smoothing)}
    producer = Producer(STAGE, backend.name, parameters, {**backend.weight_digests(), **labeller.weights}, device=options.device)
    inputs = {"frames": clip.frames_digest()}
    if not clip.needs("segment", producer, inputs, overwrite):
        return Outcome("segment", "skipped", clip.num_frames)
    steady = Steady(options.smoothing)
    with clip.writing("segment", producer, inputs, labeller.table.meta()) as segment:
        for frame, probabilities in map_in_thread(labeller, clip.frames()):
            segment.image(lookup[largest(steady(frame, probabilities), clip.width, clip.height)])
    return Outcome("segment", "done", clip.num_frames)


def largest(probabilities: NDArray[np.float32], width: int, height: int) -> NDArray[np.uint8]:
    """The most probable label of each pixel of an image of that size, uint8 [height, width]."""
    best = np.zeros((height, width), np.uint8)
    most = np.full((height, width), -1, np.float32)
    for label, share in enumerate(probabilities):
        large = cv2.resize(share, (width, height), interpolation=cv2.INTER_LINEAR)
        np.copyto(best, label, where=large > most)
        np.maximum(most, large, out=most)
    return best


def _persons(clip: Clip, backend: Backend[PersonFinder], options: SegmentOptions, overwrite: bool) -> Outcome:
    if options.edits:
        raise UsageError("Persons are the only label of the backend person", code="edits-of-persons")
    producer = Producer(STAGE, backend.name, {}, backend.weight_digests(), device=options.device)
    inputs = {"frames": clip.frames_digest()}
    needed = [kind for kind in ("mask", "segment") if clip.needs(kind, producer, inputs, overwrite)]
    if not needed:
        return Outcome("segment", "skipped", clip.num_frames)
    metas: dict[str, dict[str, Any]] = {"mask": {}, "segment": tables.PERSON.meta()}
    with ExitStack() as stack:
        writers = {kind: stack.enter_context(clip.writing(kind, producer, inputs, metas[kind])) for kind in needed}
        empty = 0
        for _, mask in map_in_thread(backend.open(options.device), clip.frames()):
            empty += not mask.any()
            for kind, writer in writers.items():
                writer.image(mask * np.uint8(255 if kind == "mask" else 1))
        if empty == clip.num_frames:
            raise NoDetection(f"No person was found in any of the {clip.num_frames} frames of {clip.path}", code="no-person-to-mask")
    return Outcome("segment", "done", clip.num_frames, {"frames_without_person": empty})


def _import(clip: Clip, backend: Backend[LabelMapReader], options: SegmentOptions, overwrite: bool) -> Outcome:
    files = list_images(_folder(clip, options.labels))
    if len(files) != clip.num_frames:
        raise InputError(f"{files[0].parent} holds {len(files)} label maps, but {clip.path} has {clip.num_frames} frames")
    table = tables.find_table(options.table)
    lookup = lookup_of(options.edits, table)
    producer = Producer(STAGE, backend.name, {"table": table.meta()} | ({"edits": list(options.edits)} if options.edits else {}))
    inputs = {"frames": clip.frames_digest(), "labels": _digest(files)}
    if not clip.needs("segment", producer, inputs, overwrite):
        return Outcome("segment", "skipped", clip.num_frames)
    read = backend.open(options.device)
    with clip.writing("segment", producer, inputs, table.meta()) as segment:
        for _, image in map_in_thread(lambda file: read(file, table, clip.width, clip.height), files):
            segment.image(lookup[image])
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
    raise InputError(f"There are no label maps beside {source}", code="no-label-maps", facts={"usual": places[0].name})


def _digest(files: list[Path]) -> str:
    """sha256 over the names and contents of `files`."""
    lines = (f"{file.name}\0{hashlib.sha256(file.read_bytes()).hexdigest()}\n" for file in files)
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()
