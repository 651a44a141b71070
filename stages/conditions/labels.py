"""Label maps: their colours, and reading a clip's `segment` layer. The tables lie in stages/tables/label_tables.py.

A label map is uint8 [H, W]; the value is an index into the table's names. VOID (255) belongs to no label.
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
    colour_of,
    table,
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
    "ids_of_colours",
    "mirror",
    "table",
]


class LabelSource(Protocol):
    """What LabelLayer needs of a clip's layer."""

    @property
    def meta(self) -> Mapping[str, Any]: ...

    @property
    def num_frames(self) -> int: ...

    def image(self, index: int) -> NDArray[Any]: ...


class LabelLayer:
    """A clip's `segment` layer together with what its ids mean. Errors begin with `path`, that of the clip.

    Raises InvalidClip when layer.json has no names.
    """

    def __init__(self, layer: LabelSource, path: Path | None = None) -> None:
        self._layer, self._path = layer, path
        self.table = _table_of_meta(layer.meta, path)
        self.names = self.table.names
        self.num_frames = layer.num_frames

    def image(self, index: int) -> NDArray[np.uint8]:
        """The label map of frame `index`, uint8 [H, W]. Raises InvalidClip for an id that is neither in the table nor void."""
        ids = np.asarray(self._layer.image(index), np.uint8)
        strange = np.bincount(ids.ravel(), minlength=VOID)[len(self.names) : VOID]
        if strange.any():
            last = len(self.names) - 1
            found = last + 1 + int(strange.argmax())
            strange_id = f"frame {index} of the segment layer has the label id {found}, but its table ends at {last}"
            raise InvalidClip(_named(self._path, strange_id))
        return ids


INSTANCES_FOLLOWED = 8
"""Instances of a clip whose boxes are keypoints, the largest ones."""
MIN_INSTANCE = 1 / 500
"""Share of the image that an instance covers at least to count as seen."""
_LOOKED_AT = 16
"""Frames of a clip in which the largest instances are looked for."""
_FIRST_THING = 1000
"""In ids as Cityscapes has them, smaller ones are those of labels: what is no thing, or a crowd of them."""


class InstanceLayer:
    """A clip's `instances` layer: numbers of things, the same in all frames, and which of them are followed."""

    def __init__(self, layer: LabelSource, path: Path | None = None) -> None:
        self._layer = layer
        ids = layer.meta.get("ids")
        if isinstance(ids, list) and not all(isinstance(value, int) for value in ids):
            wrong = "the instances layer has ids that are no whole numbers"
            raise InvalidClip(_named(path, wrong), hint="Import the instances again")
        known = [value >= _FIRST_THING for value in ids] if isinstance(ids, list) else [value > 0 for value in range(256)]
        self.is_thing = np.array((known + [False] * 256)[:256])
        areas = np.zeros(256, np.int64)
        for index in np.unique(np.linspace(0, layer.num_frames - 1, _LOOKED_AT).astype(int)):
            areas += np.bincount(self.image(int(index)).ravel(), minlength=256)
        things = [value for value in np.argsort(-areas, kind="stable").tolist() if areas[value] and value < len(known) and known[value]]
        self.followed: tuple[int, ...] = tuple(things[:INSTANCES_FOLLOWED])

    def image(self, index: int) -> NDArray[np.uint8]:
        """The numbers of frame `index`, uint8 [H, W]."""
        return np.asarray(self._layer.image(index), np.uint8)


def corners(numbers: NDArray[np.uint8], followed: Sequence[int]) -> NDArray[np.float32]:
    """Upper left and lower right corner of the box of each followed instance, [2 * INSTANCES_FOLLOWED, 3] (x, y in pixels, confidence).

    A box reaches half a pixel beyond the centres of its outermost pixels, so that it has the instance's size. numbers: uint8 [H, W]. What
    covers less than `MIN_INSTANCE` of the image is not there.
    """
    points = np.zeros((2 * INSTANCES_FOLLOWED, 3), np.float32)
    for slot, number in enumerate(followed):
        rows, columns = np.nonzero(numbers == number)
        if len(rows) >= MIN_INSTANCE * numbers.size:
            points[2 * slot] = columns.min() - 0.5, rows.min() - 0.5, 1
            points[2 * slot + 1] = columns.max() + 0.5, rows.max() + 0.5, 1
    return points


def mirror(names: Sequence[str]) -> NDArray[np.uint8]:
    """A lookup [256] of ids in a mirrored image: "left arm" and "right arm" are exchanged; what has no counterpart keeps its id."""
    lookup = np.arange(256, dtype=np.uint8)
    for index, name in enumerate(names):
        other = re.sub(r"left|right", lambda side: {"left": "right", "right": "left"}[side[0]], name)
        if other in names:
            lookup[index] = names.index(other)
    return lookup


def colourise(ids: NDArray[np.uint8], table: LabelTable) -> NDArray[np.uint8]:
    """ids [..., H, W] -> uint8 RGB [..., H, W, 3]; what is in no table is black."""
    lookup = np.zeros((256, 3), np.uint8)
    lookup[: len(table.palette)] = table.palette
    return lookup[ids]


def ids_of_colours(image: NDArray[np.uint8], table: LabelTable) -> NDArray[np.uint8]:
    """The inverse of `colourise`: RGB [H, W, 3] -> ids [H, W]. Black is void unless the table has it; other colours raise InputError."""
    codes = image.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])
    known = {0: VOID} | {(red << 16) + (green << 8) + blue: index for index, (red, green, blue) in enumerate(table.palette)}
    values, inverse = np.unique(codes, return_inverse=True)
    unknown = [f"#{value:06x}" for value in values.tolist() if value not in known]
    if unknown:
        raise InputError(f"{len(unknown)} colours are not in the label table {table.name}, the first is {unknown[0]}")
    return np.array([known[value] for value in values.tolist()], np.uint8)[inverse].reshape(image.shape[:2])


def _named(path: Path | None, wrong: str) -> str:
    """What is wrong with a layer, with the path of its clip if that is known."""
    return wrong if path is None else f"{path}: {wrong}"


def _table_of_meta(meta: Mapping[str, Any], path: Path | None) -> LabelTable:
    names, palette = meta.get("names"), meta.get("palette")
    if not isinstance(names, list) or not isinstance(palette, list) or len(names) != len(palette) or not names:
        unnamed = "the segment layer does not say what its labels are"
        raise InvalidClip(_named(path, unnamed), hint="Its layer.json needs `names` and `palette`")
    try:
        return LabelTable(str(meta.get("table", "")), tuple(str(name) for name in names), tuple(colour_of(colour) for colour in palette))
    except (TypeError, ValueError) as error:
        raise InvalidClip(_named(path, f"the palette of the segment layer cannot be read: {error}")) from error
