"""Where the clips of an experiment come from: actors, or any dataset that `fsv2v build-dataset` made."""

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
"""Of the actors each fifth is held out, the others are trained on."""
Row = dict[str, Any]


def rows_of(data: Path) -> list[Row]:
    """The clips of a dataset with its splits, or of a folder of actors.py; paths are absolute. Raises InputError when it is neither."""
    if (data / "dataset.json").exists():
        return [{**row, "clip": str((data / row["clip"]).resolve())} for row in read_index(data)]
    if not (data / "subjects.tsv").exists():
        hint = "make actors with benchmarks/papers/actors.py, or a dataset with `fsv2v build-dataset`"
        raise InputError(f"{data} is neither a folder of actors nor a dataset", hint=hint)
    pairs = [line.split("\t") for line in (data / "subjects.tsv").read_text(encoding="utf-8").splitlines()]
    order = {subject: number for number, subject in enumerate(sorted({subject for _, subject in pairs}))}
    return [_row(data / f"{name}.clip", subject, order[subject]) for name, subject in sorted(pairs)]


def _row(path: Path, subject: str, number: int) -> Row:
    split = "val" if number % HELD_OUT_EVERY == HELD_OUT_EVERY - 1 else "train"
    clip = open_clip(path)
    length = {"num_frames": clip.num_frames, "fps_value": float(clip.fps)}
    return {"id": path.stem, "subject": subject, "split": split, "clip": str(path.resolve()), **length}


def chosen(rows: Sequence[Row], training: int | None, held_out: int | None) -> list[Row]:
    """The clips of at most so many subjects of each split, the first ones; None: of all."""
    kept = set(subjects_of(rows, "train")[:training]) | set(subjects_of(rows, "val")[:held_out])
    return [row for row in rows if row["subject"] in kept]


def subjects_of(rows: Sequence[Row], split: str) -> list[str]:
    """In the order of the alphabet."""
    return sorted({row["subject"] for row in rows if row["split"] == split})


def index(rows: Sequence[Row], kind: str, out: Path) -> Path:
    """A dataset in the folder `out` that refers to the clips where they are. Written only when it says something new."""
    files = {
        "clips.ndjson": "".join(json.dumps(row, sort_keys=True) + "\n" for row in rows),
        "dataset.json": json.dumps({"schema": "fsv2v.dataset/1", "kind": kind}),
    }
    for name, text in files.items():
        if not (out / name).exists() or (out / name).read_text(encoding="utf-8") != text:
            write_atomically(out / name, text.encode())
    return out
