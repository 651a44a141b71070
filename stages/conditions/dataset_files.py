"""Reads dataset.json and clips.ndjson of a dataset. Both are untrusted input."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from stages.errors import InputError, InvalidClip
from stages.io.reading import parse_object

SCHEMA = "fsv2v.dataset/1"
MAX_COORDINATE = 2.0**20
"""Largest coordinate of a crop, in pixels."""


def read_header(root: Path) -> dict[str, Any]:
    """The content of dataset.json in the folder `root`.

    Raises FileNotFoundError or NotADirectoryError when there is none, InvalidClip when it is damaged or has another format.
    """
    path = root / "dataset.json"
    try:
        header = parse_object(path.read_bytes())
        if header.get("schema") != SCHEMA:
            raise InvalidClip(f"{path} has the format {header.get('schema')!r:.100}, this version reads {SCHEMA}", hint="Update fsv2v")
        if not isinstance(header.get("kind", ""), str) or not isinstance(header.get("parameters", {}), dict):
            raise ValueError('"kind" must be a string and "parameters" an object')
        if (labels := header.get("labels")) is not None:
            _check_labels(labels)
    except (FileNotFoundError, NotADirectoryError):
        raise
    except (OSError, ValueError) as error:
        raise InvalidClip(f"{path} is damaged: {error}", code="dataset-damaged") from error
    return header


def kind_of(header: Mapping[str, Any]) -> str:
    """The driving layer of a dataset. Headers of the first version have no such entry, because all datasets were of faces."""
    return str(header.get("kind", "landmarks"))


def read_rows(root: Path) -> dict[str, dict[str, Any]]:
    """The rows of clips.ndjson by id. Raises FileNotFoundError when the file is missing, InvalidClip when it is damaged."""
    path = root / "clips.ndjson"
    rows: dict[str, dict[str, Any]] = {}
    try:
        for line in path.read_bytes().splitlines():
            row = parse_object(line)
            _check_row(row)
            if rows.setdefault(row["id"], row) is not row:
                raise ValueError(f"the id {row['id']!r:.100} occurs twice")
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise InvalidClip(f"{path} is damaged in line {len(rows) + 1}: {error}", code="dataset-damaged") from error
    return rows


def read_index(root: Path) -> list[dict[str, Any]]:
    """The rows of clips.ndjson in the dataset `root`. Raises InputError when it is no dataset, InvalidClip when it is damaged."""
    try:
        read_header(root)
        return list(read_rows(root).values())
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{root} is not a dataset: it has no dataset.json", code="no-dataset") from None


def _check_row(row: Mapping[str, Any]) -> None:
    """Raises ValueError unless build-dataset could have written the row."""
    json.dumps(row, allow_nan=False)  # raises ValueError for NaN and infinity, which Python's reader accepts
    for name in ("id", "clip", "subject", *(["source"] if "source" in row else [])):
        if not isinstance(row.get(name), str) or not row[name] or "\0" in row[name]:
            raise ValueError(f'"{name}" must be a string, not {row.get(name)!r:.100}')
        os.fsencode(row[name])  # raises ValueError for a string that cannot be a file name
    if row.get("split") not in ("train", "val"):
        raise ValueError(f'"split" must be train or val, not {row.get("split")!r:.100}')
    length, start, rate = row.get("num_frames"), row.get("start", 0), row.get("fps_value")
    if type(length) is not int or type(start) is not int or not (0 < length < 2**31 and 0 <= start < 2**31):
        raise ValueError(f'"num_frames" {length!r:.100} or "start" {start!r:.100} is no number of frames')
    if not isinstance(rate, (int, float)) or not 1e-12 <= rate <= 1e12:
        raise ValueError(f'"fps_value" must be a positive number, not {rate!r:.100}')
    size = row.get("size", 0) if isinstance(row.get("size", 0), list) else [row.get("size", 0)] * 2
    if len(size) != 2 or not all(type(pixels) is int and 0 <= pixels <= 1 << 14 for pixels in size):
        raise ValueError(f'"size" must be a side or [height, width] in pixels, not {row["size"]!r:.100}')
    if row.get("crops") is not None:
        _check_crops(row["crops"], length, min(size))


def _check_crops(crops: Any, length: int, shorter_side: int) -> None:
    try:
        boxes = np.array(crops, np.float64)
    except (TypeError, OverflowError) as error:
        raise ValueError(f'"crops" contains other things than numbers: {error}') from error
    if boxes.shape != (length, 3) or not (np.abs(boxes) <= MAX_COORDINATE).all() or not (boxes[:, 2] >= 1).all():
        raise ValueError(f'"crops" must be {length} lists of left, top and height')
    if shorter_side == 0:
        raise ValueError('it has "crops", but no "size"')


def _check_labels(labels: Any) -> None:
    names = labels.get("names") if isinstance(labels, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or not isinstance(labels.get("table", ""), str):
        raise ValueError('"labels" must have a list "names" of strings, and "table" must be a string')
