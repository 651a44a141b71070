"""fsv2v build-dataset: clips of many people or streets become a training set, cropped and split by subject."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from stages.build_dataset.index import assign_splits, assign_subjects, common_labels, compare, header_to_continue, read_rows, write_index
from stages.build_dataset.runs import cuts, runs_of
from stages.clip import Clip, Producer, create_clip, open_clip
from stages.clip.pack import pack
from stages.conditions.dataset_files import kind_of
from stages.conditions.kinds import find_source_clip_type, source_clip_types
from stages.conditions.source_clip import Size, SourceClip
from stages.conditions.view import View
from stages.errors import Fsv2vError, InputError, MissingRequirement, NoDetection, Sentence, UsageError
from stages.io.files import alone
from stages.runner.report import Report

Store = Literal["copy", "pack", "reference"]


@dataclass(frozen=True)
class DatasetOptions:
    """What shapes a dataset. All fields are stored in dataset.json, and a dataset is not continued with other values."""

    size: int | Size | None = None
    """Height and width of the crops in pixels, or the side of squares; None: the default of the kind."""
    min_frames: int = 16
    """Shorter runs of usable frames are dropped."""
    store: Store = "copy"
    """copy: cropped frames as JPEG; pack: the same in one zip per clip; reference: the original clip with its crops."""
    val_share: float = 0.1
    held_out: tuple[str, ...] = ()
    """Subjects for the split "val"; empty: chosen by the hash of their names."""
    quality: int = 95
    kind: str = "auto"
    """The layer that drives. auto: that of an existing dataset, else the first of `kinds.source_clip_types` that the first clip
    has."""

    def __post_init__(self) -> None:
        """Raises UsageError for an unknown kind."""
        if self.kind != "auto":
            find_source_clip_type(self.kind)

    def settled(self, kind: str) -> DatasetOptions:
        """The options with a kind and a size. Raises UsageError when these do not fit."""
        material = find_source_clip_type(kind)
        chosen = material.size if self.size is None else self.size
        size = (chosen, chosen) if isinstance(chosen, int) else chosen
        material.check_size(size)
        return replace(self, kind=kind, size=size)

    @property
    def shape(self) -> Size:
        """Height and width, once settled."""
        assert isinstance(self.size, tuple)
        return self.size

    @property
    def stored_size(self) -> int | list[int]:
        """The size as in dataset.json and clips.ndjson: squares by their side."""
        height, width = self.shape
        return height if height == width else [height, width]

    def to_json(self) -> dict[str, Any]:
        """All settled options but the kind, which dataset.json holds separately."""
        values = {**asdict(self), "size": self.stored_size, "held_out": sorted(self.held_out)}
        return {name: value for name, value in values.items() if name != "kind"}


def build(
    clips: Iterable[str], out: Path, options: DatasetOptions, *, subjects: Mapping[str, str] | None = None, overwrite: bool = False
) -> Iterator[Report]:
    """Build or extend the dataset in the folder `out`; yields a Report for each of its clips when it is finished.

    clips: paths of clips that have the layer of the dataset's kind. subjects: id of a clip, or of a part of it in the dataset, ->
    subject; a clip that is not listed keeps its subject in the dataset, and a new one is its own subject. A clip that cannot be used is
    reported as failed and left out. The index is written at the end, also when some failed. Raises UsageError when `subjects` or
    `options.held_out` have unknown names, and while another process builds the dataset.
    """
    with alone(out, inside=True):
        work = _Work(out, options, overwrite)
        rows = {} if overwrite else read_rows(out)
        failed: set[str] = set()
        for source in clips:
            for row, report in work.add(source):
                if row is not None:
                    rows[row["id"]] = {"subject": rows.get(row["id"], {}).get("subject", row["source"]), **row}
                else:
                    failed.add(clip_name(source))
                yield report
        if not rows:
            raise NoDetection(f"no clip was left for the dataset {out}", code="dataset-empty")
        assign_subjects(rows, subjects or {}, failed)
        splits = assign_splits({row["subject"] for row in rows.values()}, options.held_out, options.val_share)
        write_index(out, work.header(), rows, splits)


def read_subjects(path: str | None) -> dict[str, str]:
    """A file with lines of a clip, a tab and its subject -> subjects by the clips' ids. Clips may also be named by file or path.

    Raises InputError for other lines, and for a clip with two subjects.
    """
    if path is None:
        return {}
    try:
        lines = [line.split("\t") for line in Path(path).read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    found: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if len(line) != 2 or not all(map(str.strip, line)):
            raise InputError(f"{path}: entry {number} is not a clip, a tab and a subject")
        name, subject = clip_name(line[0].strip()), line[1].strip()
        if found.setdefault(name, subject) != subject:
            raise InputError(f"{path}: {name} has two subjects, {found[name]} and {subject}", hint="Leave one of the two lines out")
    return found


def clip_name(path: str) -> str:
    """anna-1 of clips/anna-1.clip, anna-1.zip or anna-1."""
    return re.split(r"[/\\]", path.rstrip("/\\"))[-1].removesuffix(".zip").removesuffix(".clip")


@dataclass
class _Work:
    """One run over clips; the first of them may decide the kind for all."""

    out: Path
    options: DatasetOptions
    overwrite: bool
    labels: dict[str, Any] | None = None
    """The label table of a dataset of streets, as in layer.json."""
    names: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        old = header_to_continue(self.out, overwrite=self.overwrite)
        if old is not None and kind_of(old) not in source_clip_types():
            hint = "Install the package that adds the kind"
            raise InputError(f"{self.out} is a dataset of the kind {kind_of(old)!r}, which is not known", hint=hint, code="kind-unknown")
        kind = self.options.kind if self.options.kind != "auto" or old is None else kind_of(old)
        if kind != "auto":
            self.options = self.options.settled(kind)
        if old is not None:
            compare(self.out, old, kind, self.options.to_json())
            self.labels = old.get("labels")

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
        """The parts of one clip, each as its row of the index and its report."""
        begun = time.monotonic()
        try:
            clip = open_clip(Path(source))
            if clip.id in self.names:
                raise UsageError(f"two clips are named {clip.id!r}", hint="Rename one: a dataset tells its clips apart by name")
            self.names.add(clip.id)
            notes = self._decide(clip)
            material = self._material(clip)
            runs = _runs(clip, material, self.options.min_frames)
            notes["dropped_frames"] = clip.num_frames - sum(b - a for a, b in runs)
            for number, run in enumerate(runs):
                name = clip.id if len(runs) == 1 else f"{clip.id}-{number:02d}"
                row, status = _store(material, run, self.out, name, self.options, self.overwrite)
                seconds, begun = time.monotonic() - begun, time.monotonic()
                yield row, Report(str(self.out / row["clip"]), "frames", status, row["num_frames"], seconds, notes=notes)
                notes = {}
        except (MissingRequirement, UsageError):
            raise
        except Fsv2vError as error:
            yield None, Report(source, "frames", "failed", 0, time.monotonic() - begun, str(error), exit_code=error.exit_code)

    def _decide(self, clip: Clip) -> dict[str, Any]:
        """Choose the kind by the first clip, if it is "auto". Returns notes with a warning where the clip has several kinds."""
        if self.options.kind != "auto":
            return {}
        known = source_clip_types()
        present = list(filter(clip.has, known))
        if not present:
            lacking = f"{clip.path} has none of the layers {', '.join(known)}"
            raise NoDetection(lacking, code="no-driving-layer", facts={"layers": list(known)})
        self.options = self.options.settled(present[0])
        if len(present) == 1:
            return {}
        several = f"{clip.path} has the layers {', '.join(present)}: the dataset is of {present[0]}"
        return {"warnings": [Sentence(several, code="several-kinds")]}

    def _material(self, clip: Clip) -> SourceClip:
        """Raises NoDetection when the clip lacks the dataset's layer, InputError when its labels differ from the dataset's."""
        wanted = find_source_clip_type(self.options.kind)
        if not clip.has(wanted.layer):
            others = list(filter(clip.has, source_clip_types()))
            has = f", but {', '.join(others)}: a dataset is of one kind" if others else ""
            facts = {"clip": str(clip.path), "layer": wanted.layer}
            raise NoDetection(f"{clip.path} has no {wanted.layer}{has}", code="layer-missing", facts=facts)
        material = wanted(clip)
        if material.labels is not None:
            self.labels = common_labels(clip.path, material.labels.meta(), self.labels)
        return material


def _runs(clip: Clip, material: SourceClip, min_frames: int) -> list[tuple[int, int]]:
    runs = runs_of(material.usable(), cuts(clip.frames()) | material.breaks())
    long = [run for run in runs if run[1] - run[0] >= min_frames]
    if not long:
        facts = {"layer": material.layer}
        raise NoDetection(f"{clip.path} has no {min_frames} frames in a row with {material.shows}", code="no-run", facts=facts)
    return long


def _store(
    material: SourceClip, run: tuple[int, int], out: Path, name: str, options: DatasetOptions, overwrite: bool
) -> tuple[dict[str, Any], Literal["done", "skipped"]]:
    """Store one run as a clip of the dataset, unless it exists."""
    clip, (start, stop) = material.clip, run
    crops = material.crops(slice(start, stop), options.shape)
    row = {"id": name, "num_frames": stop - start, "fps": str(clip.fps), "fps_value": float(clip.fps), "source": clip.id}
    if options.store == "reference":
        place = {"clip": str(clip.path.resolve()), "start": start, "size": options.stored_size, "crops": crops.round(2).tolist()}
        return {**row, **place}, "done"
    producer = Producer("build-dataset", parameters={**options.to_json(), "held_out": [], "val_share": 0, "range": [start, stop]})
    target = out / "clips" / f"{name}.clip"
    packed = target.with_suffix(".zip")
    final = packed if options.store == "pack" else target
    row["clip"] = str(final.relative_to(out))
    if final.exists() and not open_clip(final).needs(material.layer, producer, material.inputs, overwrite):
        return row, "skipped"
    views = [View.crop(box, *options.shape) for box in crops]
    made = _frames(clip, run, crops, views, target)
    material.write_layers(made, slice(start, stop), views, producer)
    if options.store == "pack":
        pack(target, packed, overwrite=True)
        shutil.rmtree(target)
    return row, "done"


def _frames(clip: Clip, run: tuple[int, int], crops: np.ndarray, views: list[View], target: Path) -> Clip:
    """The cropped frames as a new clip, which replaces the remains of an interrupted run."""
    images = (view.image(frame) for view, frame in zip(views, clip.frames(*run), strict=True))
    source = {**(clip.source or {}), "path": None, "crop": crops[0].round(2).tolist(), "range": list(run)}
    return create_clip(target, images, fps=clip.fps, storage="jpg", source=source, overwrite=True)


__all__ = ["DatasetOptions", "build", "read_subjects"]
