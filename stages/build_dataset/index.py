"""dataset.json and clips.ndjson: the content of a dataset, split by subject."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

from stages.conditions import dataset_files
from stages.conditions.dataset_files import kind_of
from stages.errors import InputError, ParametersDiffer, UsageError
from stages.io.files import write_atomically


def read_rows(root: Path) -> dict[str, dict[str, Any]]:
    """The rows of clips.ndjson by id; empty when there is no dataset yet, or writing its index stopped before dataset.json."""
    if not (root / "dataset.json").exists():
        return {}
    try:
        return dataset_files.read_rows(root)
    except FileNotFoundError:
        return {}


def header_to_continue(root: Path, *, overwrite: bool) -> dict[str, Any] | None:
    """The header of the dataset in `root` that is to be continued, or None for a new one. Raises InputError for any other folder."""
    header = root / "dataset.json"
    if header.exists():
        return None if overwrite else dataset_files.read_header(root)
    if root.is_dir() and any(p.name not in ("clips", "clips.ndjson") and not p.name.startswith(".") for p in root.iterdir()):
        raise InputError(f"{root} is not empty and holds no dataset", code="output-taken")
    return None


def compare(root: Path, old: dict[str, Any], kind: str, parameters: dict[str, Any]) -> None:
    """Raises ParametersDiffer when the dataset with the header `old` was built with other parameters."""
    before, after = {"kind": kind_of(old), **old.get("parameters", {})}, {"kind": kind, **parameters}
    changed = [f"{name}: {before.get(name)!r} -> {value!r}" for name, value in after.items() if before.get(name) != value]
    if changed:
        raise ParametersDiffer(f"{root} was built with other parameters ({'; '.join(changed)})", code="output-differs")


def common_labels(path: Path, labels: dict[str, Any], known: dict[str, Any] | None) -> dict[str, Any]:
    """The label table of a dataset: `known`, that of its other clips, or for the first clip its own, `labels`. Raises InputError when the
    clip at `path` has other labels."""
    if known is None or labels["names"] == known["names"]:
        return known or labels
    ours, theirs = (f"{table.get('table') or 'custom'} ({', '.join(table['names'])})" for table in (labels, known))
    raise InputError(f"{path} has the labels {ours}, the dataset has {theirs}", code="labels-differ")


def assign_subjects(rows: Mapping[str, dict[str, Any]], subjects: Mapping[str, str], failed: Container[str]) -> None:
    """Set the subject of each row that `subjects` lists, by the row's id or by the id of the source clip that it was cut from.

    Raises UsageError for a listed name that is neither, except that of a clip in `failed` or of a part of such a clip.
    """
    known = {*rows, *(row.get("source", name) for name, row in rows.items())}
    strange = sorted(name for name in subjects if name not in known and name not in failed and name.rpartition("-")[0] not in failed)
    if strange:
        some = ", ".join(sorted(known)[:20])
        raise UsageError(f"no clip is named {' or '.join(strange[:5])}, which the table of subjects lists", hint=f"There are {some}")
    for name, row in rows.items():
        row["subject"] = subjects.get(name, subjects.get(row.get("source", name), row["subject"]))


def assign_splits(subjects: set[str], held_out: tuple[str, ...], share: float) -> dict[str, str]:
    """ "train" or "val" for each subject: "val" for those of `held_out`, or else for those with the lowest hashes, so that a growing
    dataset keeps its split.

    With two or more subjects at least one is "val".
    """
    if held_out:
        if missing := sorted(set(held_out) - subjects):
            known = ", ".join(sorted(subjects)[:20])
            raise UsageError(f"held-out subjects are not among the clips: {', '.join(missing)}", hint=f"There are {known}")
        return {name: "val" if name in held_out else "train" for name in subjects}
    place = {name: int(hashlib.sha256(os.fsencode(name)).hexdigest()[:8], 16) / 0xFFFFFFFF for name in subjects}
    chosen = {name for name in subjects if place[name] < share}
    if not chosen and len(subjects) > 1 and share > 0:
        chosen = {min(subjects, key=lambda name: place[name])}
    if chosen == subjects:  # training needs a subject
        chosen.remove(max(subjects, key=lambda name: place[name]))
    return {name: "val" if name in chosen else "train" for name in subjects}


def write_index(root: Path, about: dict[str, Any], rows: dict[str, dict[str, Any]], splits: dict[str, str]) -> None:
    """Write both files; clips.ndjson first, since dataset.json marks it as complete. about: kind, task, parameters and labels."""
    ordered = [{**rows[name], "split": splits[rows[name]["subject"]]} for name in sorted(rows)]
    write_atomically(root / "clips.ndjson", "".join(json.dumps(row, sort_keys=True, allow_nan=False) + "\n" for row in ordered).encode())
    header = {
        "schema": dataset_files.SCHEMA,
        **about,
        "splits": {split: sorted(n for n, s in splits.items() if s == split) for split in ("train", "val")},
        "statistics": _statistics(ordered),
    }
    write_atomically(root / "dataset.json", (json.dumps(header, indent=1, sort_keys=True, allow_nan=False) + "\n").encode())


def _statistics(rows: list[dict[str, Any]]) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for split in ("train", "val"):
        mine = [row for row in rows if row["split"] == split]
        table[split] = {
            "subjects": len({row["subject"] for row in mine}),
            "clips": len(mine),
            "frames": sum(row["num_frames"] for row in mine),
            "minutes": math.floor(sum(row["num_frames"] / row["fps_value"] for row in mine) / 0.6) / 100,
        }
    return table
