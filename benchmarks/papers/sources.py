"""The clips of an experiment: actors, drives, or a dataset made by `fsv2v build-dataset`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stages.clip import open_clip
from stages.conditions.dataset_files import read_index
from stages.errors import InputError
from stages.io.files import write_atomically

HELD_OUT_EVERY = 5
"""Every fifth subject of actors or drives is held out; the others are for training."""
Row = dict[str, Any]
"""A clip as in the file clips.ndjson of a dataset."""


def read_rows(data: Path) -> list[Row]:
    """The clips of a dataset with its splits, or of a folder of actors.py or drives.py.

    Paths are absolute. Raises InputError for other folders.
    """
    if (data / "dataset.json").exists():
        return [{**row, "clip": str((data / row["clip"]).resolve())} for row in read_index(data)]
    if not (data / "subjects.tsv").exists():
        hint = "make actors with benchmarks/papers/actors.py, or a dataset with `fsv2v build-dataset`"
        raise InputError(f"{data} is neither a folder of actors or drives nor a dataset", hint=hint)
    pairs = [line.split("\t") for line in (data / "subjects.tsv").read_text(encoding="utf-8").splitlines()]
    order = {subject: number for number, subject in enumerate(sorted({subject for _, subject in pairs}))}
    return [_row(data / f"{name}.clip", subject, order[subject]) for name, subject in sorted(pairs)]


def _row(path: Path, subject: str, number: int) -> Row:
    split = "val" if number % HELD_OUT_EVERY == HELD_OUT_EVERY - 1 else "train"
    clip = open_clip(path)
    length = {"num_frames": clip.num_frames, "fps_value": float(clip.fps)}
    return {"id": path.stem, "subject": subject, "split": split, "clip": str(path.resolve()), **length}


def select_subjects(rows: Sequence[Row], training: int | None, held_out: int | None) -> list[Row]:
    """The clips of the first `training` training subjects and the first `held_out` held-out subjects; None: of all."""
    subjects = set(subjects_of(rows, "train")[:training]) | set(subjects_of(rows, "val")[:held_out])
    return [row for row in rows if row["subject"] in subjects]


def subjects_of(rows: Sequence[Row], split: str) -> list[str]:
    """The subjects of a split, sorted."""
    return sorted({row["subject"] for row in rows if row["split"] == split})


def write_dataset(rows: Sequence[Row], kind: str, out: Path) -> Path:
    """Write a dataset that refers to these clips to the folder `out`, unless `out` contains the same one. Returns `out`."""
    files = {
        "clips.ndjson": "".join(json.dumps(row, sort_keys=True) + "\n" for row in rows),
        "dataset.json": json.dumps({"schema": "fsv2v.dataset/1", "kind": kind}),
    }
    for name, text in files.items():
        if not (out / name).exists() or (out / name).read_text(encoding="utf-8") != text:
            write_atomically(out / name, text.encode())
    return out
