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
    """The rows of clips.ndjson by id; empty when it or dataset.json is missing, as in a new folder or after an interrupted write."""
    if not (root / "dataset.json").exists():
        return {}
    try:
        return dataset_files.read_rows(root)
    except FileNotFoundError:
        return {}


def header_to_continue(root: Path, *, overwrite: bool) -> dict[str, Any] | None:
    """The header of the dataset in `root`, which will be extended; None for a new dataset. Raises InputError if `root` has other files."""
    header = root / "dataset.json"
    if header.exists():
        return None if overwrite else dataset_files.read_header(root)
    if root.is_dir() and any(p.name not in ("clips", "clips.ndjson") and not p.name.startswith(".") for p in root.iterdir()):
        raise InputError(f"{root} is not empty and holds no dataset", code="output-taken")
    return None


def require_same_parameters(root: Path, header: dict[str, Any], kind: str, parameters: dict[str, Any]) -> None:
    """Raises ParametersDiffer when the dataset with this header was built with other parameters."""
    before, after = {"kind": kind_of(header), **header.get("parameters", {})}, {"kind": kind, **parameters}
    changed = [f"{name}: {before.get(name)!r} -> {value!r}" for name, value in after.items() if before.get(name) != value]
    if changed:
        raise ParametersDiffer(f"{root} was built with other parameters ({'; '.join(changed)})", code="output-differs")


def common_labels(path: Path, labels: dict[str, Any], known: dict[str, Any] | None) -> dict[str, Any]:
    """The label table of a dataset: `known`; for the first clip, where it is None, the table `labels` of that clip.

    Raises InputError when the clip at `path` has labels other than those of the dataset.
    """
    if known is None or labels["names"] == known["names"]:
        return known or labels
    clip_labels, dataset_labels = (f"{table.get('table') or 'custom'} ({', '.join(table['names'])})" for table in (labels, known))
    raise InputError(f"{path} has the labels {clip_labels}, but the dataset has {dataset_labels}", code="labels-differ")


def assign_subjects(rows: Mapping[str, dict[str, Any]], subjects: Mapping[str, str], failed: Container[str]) -> None:
    """Set the subject of each row whose id, or whose source clip's id, is in `subjects`.

    Raises UsageError for a name in `subjects` that is neither, unless it is the id of a clip in `failed` or of a part of one.
    """
    known = {*rows, *(row.get("source", name) for name, row in rows.items())}
    unknown = sorted(name for name in subjects if name not in known and name not in failed and name.rpartition("-")[0] not in failed)
    if unknown:
        examples = ", ".join(sorted(known)[:20])
        raise UsageError(
            f"the table of subjects lists {', '.join(unknown[:5])}, but there is no such clip", hint=f"The clips include {examples}"
        )
    for name, row in rows.items():
        row["subject"] = subjects.get(name, subjects.get(row.get("source", name), row["subject"]))


def assign_splits(subjects: set[str], held_out: tuple[str, ...], share: float) -> dict[str, str]:
    """subject -> "train" or "val". The subjects in `held_out` are "val"; if there are none, those whose hash is below the share are.

    Therefore subjects keep their split when a dataset grows, unless it is so small that another rule decides: without `held_out` at least
    one subject is "train", and if the share is above 0, at least one of two or more is "val". share: from 0 to 1. Raises UsageError for an
    unknown subject in `held_out`.
    """
    if held_out:
        if missing := sorted(set(held_out) - subjects):
            known = ", ".join(sorted(subjects)[:20])
            raise UsageError(f"held-out subjects are not among the clips: {', '.join(missing)}", hint=f"The subjects include {known}")
        return {name: "val" if name in held_out else "train" for name in subjects}
    hash_value = {name: int(hashlib.sha256(os.fsencode(name)).hexdigest()[:8], 16) / 0xFFFFFFFF for name in subjects}
    validation = {name for name in subjects if hash_value[name] < share}
    if not validation and len(subjects) > 1 and share > 0:
        validation = {min(subjects, key=lambda name: hash_value[name])}
    if validation == subjects:  # training needs a subject
        validation.remove(max(subjects, key=lambda name: hash_value[name]))
    return {name: "val" if name in validation else "train" for name in subjects}


def write_index(root: Path, description: dict[str, Any], rows: dict[str, dict[str, Any]], splits: dict[str, str]) -> None:
    """Write clips.ndjson, then dataset.json, which marks the dataset as complete.

    description: its kind, task (face, body or street), parameters and labels.
    """
    ordered = [{**rows[name], "split": splits[rows[name]["subject"]]} for name in sorted(rows)]
    write_atomically(root / "clips.ndjson", "".join(json.dumps(row, sort_keys=True, allow_nan=False) + "\n" for row in ordered).encode())
    header = {
        "schema": dataset_files.SCHEMA,
        **description,
        "splits": {split: sorted(name for name, assigned in splits.items() if assigned == split) for split in ("train", "val")},
        "statistics": _statistics(ordered),
    }
    write_atomically(root / "dataset.json", (json.dumps(header, indent=1, sort_keys=True, allow_nan=False) + "\n").encode())


def _statistics(rows: list[dict[str, Any]]) -> dict[str, Any]:
    statistics: dict[str, Any] = {}
    for split in ("train", "val"):
        split_rows = [row for row in rows if row["split"] == split]
        statistics[split] = {
            "subjects": len({row["subject"] for row in split_rows}),
            "clips": len(split_rows),
            "frames": sum(row["num_frames"] for row in split_rows),
            # rounded down to hundredths
            "minutes": math.floor(sum(row["num_frames"] / row["fps_value"] for row in split_rows) / 0.6) / 100,
        }
    return statistics
