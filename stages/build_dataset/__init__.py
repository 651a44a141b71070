"""fsv2v build-dataset: makes a training set of clips of many people or streets, cropped and split by subject."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from stages.build_dataset.index import (
    assign_splits,
    assign_subjects,
    common_labels,
    header_to_continue,
    read_rows,
    require_same_parameters,
    write_index,
)
from stages.build_dataset.runs import find_cuts, find_runs
from stages.clip import Clip, Producer, create_clip, open_clip
from stages.clip.images import JPEG_QUALITY
from stages.clip.pack import pack
from stages.conditions.dataset_files import kind_of
from stages.conditions.kinds import find_source_clip_type, source_clip_types
from stages.conditions.source_clip import Size, SourceClip
from stages.conditions.view import View
from stages.errors import Fsv2vError, InputError, MissingRequirement, NoDetection, Sentence, UsageError
from stages.io.files import exclusive_lock
from stages.runner.report import Report

Store = Literal["copy", "pack", "reference"]


@dataclass(frozen=True)
class DatasetOptions:
    """Options of a dataset. All fields are stored in dataset.json, and a dataset cannot be continued with other values."""

    size: int | Size | None = None
    """(height, width) of the crops in pixels, or the side of squares; None: the default of the kind."""
    min_frames: int = 16
    """Shorter runs of usable frames are dropped."""
    store: Store = "copy"
    """copy: cropped frames as JPEG; pack: the same in one zip per clip; reference: the original clip with its crops."""
    val_share: float = 0.1
    held_out: tuple[str, ...] = ()
    """Subjects for the split "val"; empty: they are chosen by the hash of their names."""
    kind: str = "auto"
    """The driving layer. auto: that of an existing dataset, else the first of `kinds.source_clip_types` in the first clip."""

    def __post_init__(self) -> None:
        """Raises UsageError for an unknown kind."""
        if self.kind != "auto":
            find_source_clip_type(self.kind)

    def with_kind(self, kind: str) -> DatasetOptions:
        """The options for this kind, with its default size if none is set. Raises UsageError for a size that does not fit the kind."""
        source_clip_type = find_source_clip_type(kind)
        chosen = source_clip_type.size if self.size is None else self.size
        size = (chosen, chosen) if isinstance(chosen, int) else chosen
        source_clip_type.check_size(size)
        return replace(self, kind=kind, size=size)

    @property
    def shape(self) -> Size:
        """(height, width), after `with_kind`."""
        assert isinstance(self.size, tuple)
        return self.size

    @property
    def stored_size(self) -> int | list[int]:
        """The size as stored in dataset.json and clips.ndjson: the side of a square, else [height, width]."""
        height, width = self.shape
        return height if height == width else [height, width]

    def to_json(self) -> dict[str, Any]:
        """The options after `with_kind`, except the kind, which dataset.json stores separately."""
        values = {**asdict(self), "size": self.stored_size, "held_out": sorted(self.held_out), "quality": JPEG_QUALITY}
        return {name: value for name, value in values.items() if name != "kind"}


def build(
    clips: Iterable[str], out: Path, options: DatasetOptions, *, subjects: Mapping[str, str] | None = None, overwrite: bool = False
) -> Iterator[Report]:
    """Build or extend the dataset in the folder `out`; yields a Report for each of its clips when it is finished.

    clips: paths of clips that have the layer of the dataset's kind. subjects: the id of a clip, or of a part of a clip in the dataset ->
    its subject. A clip that is not listed keeps its subject in the dataset; a new clip is a subject of its own. A clip that cannot be used
    is reported as failed and left out. The index is written at the end, even if some clips failed. Raises UsageError when `subjects` or
    `options.held_out` have unknown names, and while another process builds the dataset; NoDetection when no clip is left.
    """
    with exclusive_lock(out, inside=True):
        dataset = _DatasetBuilder(out, options, overwrite)
        rows = {} if overwrite else read_rows(out)
        failed: set[str] = set()
        for source in clips:
            for row, report in dataset.add(source):
                if row is not None:
                    rows[row["id"]] = {"subject": rows.get(row["id"], {}).get("subject", row["source"]), **row}
                else:
                    failed.add(clip_id_of(source))
                yield report
        if not rows:
            raise NoDetection(f"no clip was left for the dataset {out}", code="dataset-empty")
        assign_subjects(rows, subjects or {}, failed)
        splits = assign_splits({row["subject"] for row in rows.values()}, options.held_out, options.val_share)
        write_index(out, dataset.header(), rows, splits)


def read_subjects(path: str | None) -> dict[str, str]:
    """Read a file whose lines are a clip, a tab and a subject: clip id -> subject. A clip is given by its id, file name or path.

    Raises InputError for other lines, and for a clip with two subjects. Without a path, no clip has a subject.
    """
    if path is None:
        return {}
    try:
        lines = [line.split("\t") for line in Path(path).read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    subjects: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if len(line) != 2 or not all(map(str.strip, line)):
            raise InputError(f"{path}: entry {number} is not a clip, a tab and a subject")
        name, subject = clip_id_of(line[0].strip()), line[1].strip()
        if subjects.setdefault(name, subject) != subject:
            raise InputError(f"{path}: {name} has two subjects, {subjects[name]} and {subject}", hint="Leave one of the two lines out")
    return subjects


def clip_id_of(path: str) -> str:
    """The id of a clip from its path: clips/anna-1.clip, anna-1.zip and anna-1 give anna-1."""
    return re.split(r"[/\\]", path.rstrip("/\\"))[-1].removesuffix(".zip").removesuffix(".clip")


@dataclass
class _DatasetBuilder:
    """The dataset while clips are added to it. With the kind "auto", the first clip decides the kind."""

    out: Path
    options: DatasetOptions
    overwrite: bool
    labels: dict[str, Any] | None = None
    """The label table of a dataset of streets, as in layer.json."""
    clip_ids: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        header = header_to_continue(self.out, overwrite=self.overwrite)
        if header is not None and kind_of(header) not in source_clip_types():
            hint = "Install the package that adds the kind"
            raise InputError(f"{self.out} is a dataset of the kind {kind_of(header)!r}, which is not known", hint=hint, code="kind-unknown")
        kind = self.options.kind if self.options.kind != "auto" or header is None else kind_of(header)
        if kind != "auto":
            self.options = self.options.with_kind(kind)
        if header is not None:
            require_same_parameters(self.out, header, kind, self.options.to_json())
            self.labels = header.get("labels")

    def header(self) -> dict[str, Any]:
        """The entries of dataset.json for the whole dataset."""
        labels = {"labels": self.labels} if self.labels else {}
        return {
            "kind": self.options.kind,
            "task": find_source_clip_type(self.options.kind).task,
            "parameters": self.options.to_json(),
            **labels,
        }

    def add(self, source: str) -> Iterator[tuple[dict[str, Any] | None, Report]]:
        """Add one clip; yields for each of its parts the row in the index and the report. For a clip that fails, the row is None."""
        started = time.monotonic()
        try:
            clip = open_clip(Path(source))
            if clip.id in self.clip_ids:
                raise UsageError(f"two clips are named {clip.id!r}", hint="Rename one: a dataset tells its clips apart by name")
            self.clip_ids.add(clip.id)
            notes = self._choose_kind(clip)
            source_clip = self._open_source_clip(clip)
            runs = _find_long_runs(clip, source_clip, self.options.min_frames)
            notes["dropped_frames"] = clip.num_frames - sum(b - a for a, b in runs)
            for index, run in enumerate(runs):
                name = clip.id if len(runs) == 1 else f"{clip.id}-{index:02d}"
                row, status = _store_run(source_clip, run, self.out, name, self.options, self.overwrite)
                seconds, started = time.monotonic() - started, time.monotonic()
                yield row, Report(str(self.out / row["clip"]), "frames", status, row["num_frames"], seconds, notes=notes)
                notes = {}
        except (MissingRequirement, UsageError):
            raise
        except Fsv2vError as error:
            yield None, Report(source, "frames", "failed", 0, time.monotonic() - started, str(error), exit_code=error.exit_code)

    def _choose_kind(self, clip: Clip) -> dict[str, Any]:
        """If the kind is "auto", set it to that of the first clip. Returns notes, with a warning if the clip fits several kinds."""
        if self.options.kind != "auto":
            return {}
        known = source_clip_types()
        present = list(filter(clip.has, known))
        if not present:
            reason = f"{clip.path} has none of the layers {', '.join(known)}"
            raise NoDetection(reason, code="no-driving-layer", facts={"layers": list(known)})
        self.options = self.options.with_kind(present[0])
        if len(present) == 1:
            return {}
        warning = f"{clip.path} has the layers {', '.join(present)}: the dataset is of {present[0]}"
        return {"warnings": [Sentence(warning, code="several-kinds")]}

    def _open_source_clip(self, clip: Clip) -> SourceClip:
        """Open the driving layer of a clip.

        Raises NoDetection when the clip lacks the layer, InputError when its labels differ from those of the dataset.
        """
        source_clip_type = find_source_clip_type(self.options.kind)
        if not clip.has(source_clip_type.layer):
            others = list(filter(clip.has, source_clip_types()))
            alternatives = f", but {', '.join(others)}: a dataset is of one kind" if others else ""
            facts = {"clip": str(clip.path), "layer": source_clip_type.layer}
            raise NoDetection(f"{clip.path} has no {source_clip_type.layer}{alternatives}", code="layer-missing", facts=facts)
        source_clip = source_clip_type(clip)
        if source_clip.labels is not None:
            self.labels = common_labels(clip.path, source_clip.labels.meta(), self.labels)
        return source_clip


def _find_long_runs(clip: Clip, source_clip: SourceClip, min_frames: int) -> list[tuple[int, int]]:
    runs = find_runs(source_clip.usable(), find_cuts(clip.frames()) | source_clip.breaks())
    long_runs = [run for run in runs if run[1] - run[0] >= min_frames]
    if not long_runs:
        facts = {"layer": source_clip.layer}
        raise NoDetection(f"{clip.path} has no {min_frames} frames in a row with {source_clip.shows}", code="no-run", facts=facts)
    return long_runs


def _store_run(
    source_clip: SourceClip, run: tuple[int, int], out: Path, name: str, options: DatasetOptions, overwrite: bool
) -> tuple[dict[str, Any], Literal["done", "skipped"]]:
    """Store one run as a clip of the dataset, unless it exists."""
    clip, (start, stop) = source_clip.clip, run
    crops = source_clip.crops(slice(start, stop), options.shape)
    row = {"id": name, "num_frames": stop - start, "fps": str(clip.fps), "fps_value": float(clip.fps), "source": clip.id}
    if options.store == "reference":
        reference = {"clip": str(clip.path.resolve()), "start": start, "size": options.stored_size, "crops": crops.round(2).tolist()}
        return {**row, **reference}, "done"
    producer = Producer("build-dataset", parameters={**options.to_json(), "held_out": [], "val_share": 0, "range": [start, stop]})
    target = out / "clips" / f"{name}.clip"
    zip_path = target.with_suffix(".zip")
    path = zip_path if options.store == "pack" else target
    row["clip"] = str(path.relative_to(out))
    if path.exists() and not open_clip(path).needs(source_clip.layer, producer, source_clip.inputs, overwrite):
        return row, "skipped"
    views = [View.crop(box, *options.shape) for box in crops]
    stored_clip = _store_frames(clip, run, crops, views, target)
    source_clip.write_layers(stored_clip, slice(start, stop), views, producer)
    if options.store == "pack":
        pack(target, zip_path, overwrite=True)
        shutil.rmtree(target)
    return row, "done"


def _store_frames(clip: Clip, run: tuple[int, int], crops: np.ndarray, views: list[View], target: Path) -> Clip:
    """Write the cropped frames of a run as a new clip. It replaces what an interrupted command has left."""
    images = (view.image(frame) for view, frame in zip(views, clip.frames(*run), strict=True))
    source = {**(clip.source or {}), "path": None, "crop": crops[0].round(2).tolist(), "range": list(run)}
    return create_clip(target, images, fps=clip.fps, storage="jpg", source=source, overwrite=True)


__all__ = ["DatasetOptions", "build", "read_subjects"]
