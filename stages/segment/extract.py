"""The stage `segment`: writes label maps, predicted or imported, to the layer `segment`, and masks of people also to the layer `mask`."""

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
from stages.segment.edit import edit_lookup
from stages.segment.temporal_smoothing import TemporalSmoother

STAGE = "segment"


@dataclass(frozen=True)
class SegmentOptions:
    """The options of the stage; all but `device` are part of the layers' keys.

    backend: street, segformer, person, labels, or auto: labels if `labels` is given, else street.
    model: a checkpoint for segformer.
    labels: the folder to import, in which {stem} stands for the name of the clip's source without its suffix. Without it the backend
    `labels` looks beside the source for STEM_labels or STEMannot.
    table: the label table of imported ids, see stages.conditions.labels.
    edits: "tree=building" turns trees into buildings.
    smoothing: strength of the temporal smoothing of predicted labels, see `TemporalSmoother`.
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

    Writes `segment`, label ids with the names and palette of their table. The backend `person` also writes `mask` (0 or 255). Raises
    NoDetection when no frame shows a person, InputError when label maps do not fit the clip.
    """
    backend = _choose_backend(clip, options)
    if backend.name == "labels":
        return _import_labels(clip, labels.BACKEND, options, overwrite)
    if backend.name == "person":
        return _mask_people(clip, person.BACKEND, options, overwrite)
    return _predict_labels(clip, cast("Backend[LabellerOpener]", backend), options, overwrite)


def _choose_backend(clip: Clip, options: SegmentOptions) -> Backend[SegmentBackend]:
    if options.backend not in ("auto", "labels") and options.labels is not None:
        raise UsageError("Label maps are either imported or predicted", code="labels-or-backend", facts={"backend": options.backend})
    if options.model is not None and options.backend not in DEFAULT_MODELS:
        raise UsageError("A model needs its backend", code="model-without-backend", facts={"backends": " or ".join(DEFAULT_MODELS)})
    if not 0 <= options.smoothing <= 100:
        raise UsageError(f"Smoothing cannot be {options.smoothing}", hint="Choose a number from 0 (off); 1 is the default")
    if options.labels is not None:
        return Backends("segment").require("labels")
    return Backends("segment").require_for(clip, "segment", options.backend)


def _predict_labels(clip: Clip, backend: Backend[LabellerOpener], options: SegmentOptions, overwrite: bool) -> Outcome:
    labeller = backend.open(options.device)(options.model)
    lookup = edit_lookup(options.edits, labeller.table)
    parameters = {"model": options.model, "edits": list(options.edits), "smoothing": float(options.smoothing)}
    producer = Producer(STAGE, backend.name, parameters, {**backend.weight_digests(), **labeller.weights}, device=options.device)
    inputs = {"frames": clip.frames_digest()}
    if not clip.needs("segment", producer, inputs, overwrite):
        return Outcome("segment", "skipped", clip.num_frames)
    smooth = TemporalSmoother(options.smoothing)
    with clip.writing("segment", producer, inputs, labeller.table.meta()) as segment:
        for frame, probabilities in map_in_thread(labeller, clip.frames()):
            segment.image(lookup[most_probable_labels(smooth(frame, probabilities), clip.width, clip.height)])
    return Outcome("segment", "done", clip.num_frames)


def most_probable_labels(probabilities: NDArray[np.float32], width: int, height: int) -> NDArray[np.uint8]:
    """Probabilities [L, h, w] of L labels -> the most probable label of each pixel, uint8 [height, width]."""
    labels = np.zeros((height, width), np.uint8)
    maximum = np.full((height, width), -1, np.float32)
    for label, channel in enumerate(probabilities):
        resized = cv2.resize(channel, (width, height), interpolation=cv2.INTER_LINEAR)
        np.copyto(labels, label, where=resized > maximum)
        np.maximum(maximum, resized, out=maximum)
    return labels


def _mask_people(clip: Clip, backend: Backend[PersonFinder], options: SegmentOptions, overwrite: bool) -> Outcome:
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
        num_empty = 0
        for _, mask in map_in_thread(backend.open(options.device), clip.frames()):
            num_empty += not mask.any()
            for kind, writer in writers.items():
                writer.image(mask * np.uint8(255 if kind == "mask" else 1))
        if num_empty == clip.num_frames:
            raise NoDetection(f"No person was found in any of the {clip.num_frames} frames of {clip.path}", code="no-person-to-mask")
    return Outcome("segment", "done", clip.num_frames, {"frames_without_person": num_empty})


def _import_labels(clip: Clip, backend: Backend[LabelMapReader], options: SegmentOptions, overwrite: bool) -> Outcome:
    files = list_images(_label_folder(clip, options.labels))
    if len(files) != clip.num_frames:
        raise InputError(f"{files[0].parent} holds {len(files)} label maps, but {clip.path} has {clip.num_frames} frames")
    table = tables.find_table(options.table)
    lookup = edit_lookup(options.edits, table)
    producer = Producer(STAGE, backend.name, {"table": table.meta()} | ({"edits": list(options.edits)} if options.edits else {}))
    inputs = {"frames": clip.frames_digest(), "labels": _digest(files)}
    if not clip.needs("segment", producer, inputs, overwrite):
        return Outcome("segment", "skipped", clip.num_frames)
    read = backend.open(options.device)
    with clip.writing("segment", producer, inputs, table.meta()) as segment:
        for _, image in map_in_thread(lambda file: read(file, table, clip.width, clip.height), files):
            segment.image(lookup[image])
    return Outcome("segment", "done", clip.num_frames)


def _label_folder(clip: Clip, labels: str | None) -> Path:
    """The folder of label maps: `labels` with {stem} replaced, or the one beside the clip's source."""
    source = clip.source_path() or clip.path
    stem = source.name if source.is_dir() and source.suffix != ".clip" else source.stem
    if labels is not None:
        return Path(labels.replace("{stem}", stem))
    folders = [source.parent / f"{stem}{suffix}" for suffix in ("_labels", "annot")]
    for folder in folders:
        if folder.is_dir():
            return folder
    raise InputError(f"There are no label maps beside {source}", code="no-label-maps", facts={"usual": folders[0].name})


def _digest(files: list[Path]) -> str:
    """sha256 over the names and contents of `files`."""
    lines = (f"{file.name}\0{hashlib.sha256(file.read_bytes()).hexdigest()}\n" for file in files)
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()
