"""fsv2v build-dataset: clips of many people become a training set, cropped to the head and split by subject."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from stages.build_dataset.index import assign_splits, claim, read_rows, write_index
from stages.build_dataset.runs import runs_of, shot_starts
from stages.clip import Clip, Producer, create_clip, open_clip
from stages.clip.pack import pack
from stages.conditions import crop
from stages.conditions.view import View
from stages.errors import BadInput, Fsv2vError, MissingRequirement, NoDetection, UsageProblem
from stages.runner.report import Report

Store = Literal["copy", "pack", "reference"]


@dataclass(frozen=True)
class DatasetOptions:
    """What shapes a dataset. All of it is stored in dataset.json, and a dataset is not continued with other values."""

    size: int = 256
    """Side of the square head crops in pixels."""
    min_frames: int = 16
    """Shorter runs of frames with a face are dropped."""
    store: Store = "copy"
    """copy: cropped frames as JPEG; pack: the same in one zip per clip; reference: the original clip with its crops."""
    val_share: float = 0.1
    held_out: tuple[str, ...] = ()
    """Subjects for the split "val"; empty: chosen by the hash of their names."""
    quality: int = 95


def build(
    clips: Iterable[str], out: Path, options: DatasetOptions, *, subjects: Mapping[str, str] | None = None, overwrite: bool = False
) -> Iterator[Report]:
    """Build or extend the dataset in the folder `out`, one Report for each clip of it, as it is finished.

    clips: paths of clips that have a layer `landmarks`. subjects: clip id -> subject; a clip that is not listed is its own subject.
    A clip that cannot be used is reported as failed and left out. The index is written at the end, also when some failed.
    """
    parameters = {**asdict(options), "held_out": sorted(options.held_out)}
    claim(out, parameters, overwrite=overwrite)
    rows = {} if overwrite else read_rows(out)
    names: set[str] = set()
    for source in clips:
        for row, report in _add(source, out, options, subjects or {}, names, overwrite):
            if row is not None:
                rows[row["id"]] = row
            yield report
    if not rows:
        hint = "see the reasons above; `fsv2v clip preview` shows what was detected"
        raise NoDetection(f"no clip was left for the dataset {out}", hint=hint)
    splits = assign_splits({row["subject"] for row in rows.values()}, options.held_out, options.val_share)
    write_index(out, "face", parameters, rows, splits)


def read_subjects(path: str | None) -> dict[str, str]:
    """A file with lines of clip id, tab, subject. Raises BadInput for another kind of line."""
    if path is None:
        return {}
    try:
        lines = [line.split("\t") for line in Path(path).read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} cannot be read: {error}") from error
    if wrong := [number for number, line in enumerate(lines, 1) if len(line) != 2]:
        raise BadInput(f"{path}: entry {wrong[0]} is not a clip, a tab and a subject")
    return {clip.strip(): subject.strip() for clip, subject in lines}


def _add(
    source: str, out: Path, options: DatasetOptions, subjects: Mapping[str, str], names: set[str], overwrite: bool
) -> Iterator[tuple[dict[str, Any] | None, Report]]:
    """The parts of one clip, each as its row of the index and its report."""
    begun = time.monotonic()
    try:
        clip = open_clip(Path(source))
        if clip.id in names:
            raise UsageProblem(f"two clips are named {clip.id!r}", hint="rename one: a dataset tells its clips apart by name")
        names.add(clip.id)
        points = _followed_face(clip)
        runs = _runs(clip, points, options.min_frames)
        for number, run in enumerate(runs):
            name = clip.id if len(runs) == 1 else f"{clip.id}-{number:02d}"
            row, status = _store(clip, points, run, out, name, options, overwrite)
            row["subject"] = subjects.get(clip.id, clip.id)
            seconds, begun = time.monotonic() - begun, time.monotonic()
            notes = {"dropped_frames": clip.num_frames - sum(b - a for a, b in runs)} if number == 0 else {}
            yield row, Report(str(out / row["clip"]), "frames", status, row["num_frames"], seconds, notes=notes)
    except (MissingRequirement, UsageProblem):
        raise
    except Fsv2vError as error:
        yield None, Report(source, "frames", "failed", 0, time.monotonic() - begun, str(error), exit_code=error.exit_code)


def _followed_face(clip: Clip) -> np.ndarray:
    """Landmarks [T, 68, 3] of the first face of the layer."""
    if not clip.has("landmarks"):
        raise NoDetection(f"{clip.path} has no landmarks", hint=f"run `fsv2v extract-sketch {clip.path}` first")
    return clip.layer("landmarks").arrays()["points"][:, 0]


def _runs(clip: Clip, points: np.ndarray, min_frames: int) -> list[tuple[int, int]]:
    runs = runs_of(points[..., 2].max(1) > 0, shot_starts(clip.frames(), points))
    long = [run for run in runs if run[1] - run[0] >= min_frames]
    if not long:
        hint = "lower --min-frames, or check the landmarks with `fsv2v clip preview`"
        raise NoDetection(f"{clip.path} has no {min_frames} frames in a row with a face", hint=hint)
    return long


def _store(
    clip: Clip, points: np.ndarray, run: tuple[int, int], out: Path, name: str, options: DatasetOptions, overwrite: bool
) -> tuple[dict[str, Any], Literal["done", "skipped"]]:
    """One run as a clip of the dataset; skipped when it is there already."""
    start, stop = run
    crops = crop.smooth_crops(points[start:stop], clip.width, clip.height, float(clip.fps))
    row = {"id": name, "num_frames": stop - start, "fps": str(clip.fps), "fps_value": float(clip.fps), "source": clip.id}
    if options.store == "reference":
        return {**row, "clip": str(clip.path.resolve()), "start": start, "size": options.size, "crops": crops.round(2).tolist()}, "done"
    producer = Producer("build-dataset", parameters={**asdict(options), "held_out": [], "val_share": 0, "range": [start, stop]})
    inputs = {"frames": clip.frames_digest(), "landmarks": clip.layer("landmarks").digest}
    target = out / "clips" / f"{name}.clip"
    packed = target.with_suffix(".zip")
    final = packed if options.store == "pack" else target
    row["clip"] = str(final.relative_to(out))
    if final.exists() and not open_clip(final).needs("landmarks", producer, inputs, overwrite):
        return row, "skipped"
    made = _frames(clip, run, crops, target, options)
    moved = np.empty_like(points[start:stop])
    for into, box, face in zip(moved, crops, points[start:stop], strict=True):
        into[:] = View.crop(box, options.size, options.size).points(face)
    with made.writing("landmarks", producer, inputs, {"points": "iBUG-68", "units": "pixels"}) as layer:
        layer.arrays(points=moved[:, None])
    if options.store == "pack":
        pack(target, packed, overwrite=True)
        shutil.rmtree(target)
    return row, "done"


def _frames(clip: Clip, run: tuple[int, int], crops: np.ndarray, target: Path, options: DatasetOptions) -> Clip:
    """The cropped frames as a new clip, in place of what a broken run may have left."""
    start, stop = run
    pictures = (View.crop(box, options.size, options.size).image(frame) for frame, box in zip(clip.frames(start, stop), crops, strict=True))
    source = {**(clip.source or {}), "path": None, "crop": crops[0].round(2).tolist(), "range": [start, stop]}
    return create_clip(target, pictures, fps=clip.fps, storage="jpg", source=source, overwrite=True)


__all__ = ["DatasetOptions", "build", "read_subjects"]
