"""Label maps: the layers `segment` and `instances` of a clip, colours, and mirror images. Tables are in stages/tables/label_tables.py.

A label map is uint8 [H, W]. A value is an index into the names of the label table, or VOID (255) for pixels without a label.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from stages.errors import InputError, InvalidClip
from stages.tables.label_tables import (
    APOLLOSCAPE,
    CAMVID,
    CITYSCAPES_IDS,
    CITYSCAPES_TRAIN_IDS,
    PERSON,
    TABLES,
    VOID,
    LabelTable,
    find_table,
    parse_colour,
)

__all__ = [
    "APOLLOSCAPE",
    "CAMVID",
    "CITYSCAPES_IDS",
    "CITYSCAPES_TRAIN_IDS",
    "PERSON",
    "TABLES",
    "VOID",
    "LabelLayer",
    "LabelTable",
    "colourise",
    "find_table",
    "ids_of_colours",
    "mirror_lookup",
]


class LabelSource(Protocol):
    """The part of a clip's layer that `LabelLayer` and `InstanceLayer` use."""

    @property
    def meta(self) -> Mapping[str, Any]: ...

    @property
    def num_frames(self) -> int: ...

    def image(self, index: int) -> NDArray[Any]: ...


class LabelLayer:
    """A clip's layer `segment` with its label table. path: that of the clip; error messages begin with it.

    Raises InvalidClip when layer.json has no label names.
    """

    def __init__(self, layer: LabelSource, path: Path | None = None) -> None:
        self._layer, self._path = layer, path
        self.table = _table_of_meta(layer.meta, path)
        self.names = self.table.names
        self.num_frames = layer.num_frames

    def image(self, index: int) -> NDArray[np.uint8]:
        """The label map of frame `index`, uint8 [H, W]. Raises InvalidClip for an id that is neither in the table nor void."""
        ids = np.asarray(self._layer.image(index), np.uint8)
        unknown = np.bincount(ids.ravel(), minlength=VOID)[len(self.names) : VOID]
        if unknown.any():
            last = len(self.names) - 1
            first_unknown = last + 1 + int(unknown.argmax())
            problem = f"frame {index} of the segment layer has the label id {first_unknown}, but its table ends at {last}"
            raise InvalidClip(_with_path(self._path, problem))
        return ids


INSTANCES_FOLLOWED = 8
"""Number of instances of a clip, the largest ones, whose box corners serve as keypoints."""
MIN_INSTANCE = 1 / 500
"""Smallest share of the image that an instance must cover to count as seen."""
_SAMPLED_FRAMES = 16
"""Number of frames of a clip in which the areas of instances are measured."""
_FIRST_INSTANCE_ID = 1000
"""In Cityscapes, instance ids begin at this number. A smaller id is a label id; it marks an uncountable label or a group of objects."""


class InstanceLayer:
    """A clip's layer `instances`: an object has the same number in all frames.

    is_thing: whether each number is that of a countable object, bool [256]. followed: the numbers of the largest objects.
    Raises InvalidClip when layer.json has ids that are not whole numbers.
    """

    def __init__(self, layer: LabelSource, path: Path | None = None) -> None:
        self._layer = layer
        ids = layer.meta.get("ids")
        if isinstance(ids, list) and not all(isinstance(value, int) for value in ids):
            problem = "the instances layer has ids that are not whole numbers"
            raise InvalidClip(_with_path(path, problem), hint="Import the instances again")
        is_thing = [value >= _FIRST_INSTANCE_ID for value in ids] if isinstance(ids, list) else [value > 0 for value in range(256)]
        self.is_thing = np.array((is_thing + [False] * 256)[:256])
        areas = np.zeros(256, np.int64)
        for index in np.unique(np.linspace(0, layer.num_frames - 1, _SAMPLED_FRAMES).astype(int)):
            areas += np.bincount(self.image(int(index)).ravel(), minlength=256)
        things = [number for number in np.argsort(-areas, kind="stable").tolist() if areas[number] and self.is_thing[number]]
        self.followed: tuple[int, ...] = tuple(things[:INSTANCES_FOLLOWED])

    def image(self, index: int) -> NDArray[np.uint8]:
        """The instance numbers of frame `index`, uint8 [H, W]."""
        return np.asarray(self._layer.image(index), np.uint8)


def box_corners(instances: NDArray[np.uint8], followed: Sequence[int]) -> NDArray[np.float32]:
    """Upper left and lower right corner of the box of each followed instance, [2 * INSTANCES_FOLLOWED, 3] (x, y in pixels, confidence).

    instances: numbers, uint8 [H, W]. A box reaches half a pixel beyond the centres of its outermost pixels, so that it has the size of the
    instance. An instance that covers less than `MIN_INSTANCE` of the image gets zeros.
    """
    points = np.zeros((2 * INSTANCES_FOLLOWED, 3), np.float32)
    for slot, number in enumerate(followed):
        rows, columns = np.nonzero(instances == number)
        if len(rows) >= MIN_INSTANCE * instances.size:
            points[2 * slot] = columns.min() - 0.5, rows.min() - 0.5, 1
            points[2 * slot + 1] = columns.max() + 0.5, rows.max() + 0.5, 1
    return points


def mirror_lookup(names: Sequence[str]) -> NDArray[np.uint8]:
    """Lookup [256] of label id -> id in a mirrored image: "left arm" and "right arm" are exchanged, ids without a counterpart stay."""
    lookup = np.arange(256, dtype=np.uint8)
    for index, name in enumerate(names):
        counterpart = re.sub(r"left|right", lambda side: {"left": "right", "right": "left"}[side[0]], name)
        if counterpart in names:
            lookup[index] = names.index(counterpart)
    return lookup


def colourise(ids: NDArray[np.uint8], table: LabelTable) -> NDArray[np.uint8]:
    """ids [..., H, W] -> uint8 RGB [..., H, W, 3]; ids that are not in the table are black."""
    lookup = np.zeros((256, 3), np.uint8)
    lookup[: len(table.palette)] = table.palette
    return lookup[ids]


def ids_of_colours(image: NDArray[np.uint8], table: LabelTable) -> NDArray[np.uint8]:
    """The inverse of `colourise`: RGB [H, W, 3] -> ids [H, W]. Black is void unless the table has it.

    Raises InputError for other colours that are not in the table.
    """
    codes = image.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])
    known = {0: VOID} | {(red << 16) + (green << 8) + blue: index for index, (red, green, blue) in enumerate(table.palette)}
    values, inverse = np.unique(codes, return_inverse=True)
    unknown = [f"#{value:06x}" for value in values.tolist() if value not in known]
    if unknown:
        raise InputError(f"{len(unknown)} colours are not in the label table {table.name}, the first is {unknown[0]}")
    return np.array([known[value] for value in values.tolist()], np.uint8)[inverse].reshape(image.shape[:2])


def _with_path(path: Path | None, problem: str) -> str:
    """The problem, after the path of the clip if that is known."""
    return problem if path is None else f"{path}: {problem}"


def _table_of_meta(meta: Mapping[str, Any], path: Path | None) -> LabelTable:
    names, palette = meta.get("names"), meta.get("palette")
    if not isinstance(names, list) or not isinstance(palette, list) or len(names) != len(palette) or not names:
        problem = "the segment layer does not say what its labels are"
        raise InvalidClip(_with_path(path, problem), hint="Its layer.json needs `names` and `palette`")
    try:
        return LabelTable(str(meta.get("table", "")), tuple(str(name) for name in names), tuple(parse_colour(colour) for colour in palette))
    except (TypeError, ValueError) as error:
        raise InvalidClip(_with_path(path, f"the palette of the segment layer cannot be read: {error}")) from error
