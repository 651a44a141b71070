"""Label maps: tables of names and colours, and reading a clip's `segment` layer.

A label map is uint8 [H, W]; the value is an index into the table's names. VOID (255) belongs to no label.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from stages.errors import BadInput, InvalidClip, UsageProblem

VOID = 255

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class LabelTable:
    """Names and RGB colours of label ids 0, 1, 2, ..."""

    name: str
    names: tuple[str, ...]
    palette: tuple[Colour, ...]

    def meta(self) -> dict[str, Any]:
        """What a layer.json says about its label ids."""
        return {"table": self.name, "names": list(self.names), "palette": [list(colour) for colour in self.palette]}


class LabelSource(Protocol):
    """What LabelLayer needs of a clip's layer."""

    @property
    def meta(self) -> Mapping[str, Any]: ...

    @property
    def num_frames(self) -> int: ...

    def image(self, index: int) -> NDArray[Any]: ...


class LabelLayer:
    """A clip's `segment` layer together with what its ids mean. Raises InvalidClip when layer.json has no names."""

    def __init__(self, layer: LabelSource) -> None:
        self._layer = layer
        self.table = _table_of_meta(layer.meta)
        self.names = self.table.names
        self.num_frames = layer.num_frames

    def image(self, index: int) -> NDArray[np.uint8]:
        """The label map of frame `index`, uint8 [H, W]."""
        return np.asarray(self._layer.image(index), np.uint8)


def colourise(ids: NDArray[np.uint8], table: LabelTable) -> NDArray[np.uint8]:
    """ids [..., H, W] -> uint8 RGB [..., H, W, 3]; what is in no table is black."""
    lookup = np.zeros((256, 3), np.uint8)
    lookup[: len(table.palette)] = table.palette
    return lookup[ids]


def ids_of_colours(image: NDArray[np.uint8], table: LabelTable) -> NDArray[np.uint8]:
    """The inverse of `colourise`: RGB [H, W, 3] -> ids [H, W]; black is void unless the table has it. Raises BadInput for other colours."""
    codes = image.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])
    known = {0: VOID} | {(red << 16) + (green << 8) + blue: index for index, (red, green, blue) in enumerate(table.palette)}
    values, inverse = np.unique(codes, return_inverse=True)
    unknown = [f"#{value:06x}" for value in values.tolist() if value not in known]
    if unknown:
        raise BadInput(f"{len(unknown)} colours are not in the label table {table.name}, the first is {unknown[0]}")
    return np.array([known[value] for value in values.tolist()], np.uint8)[inverse].reshape(image.shape[:2])


def table(name: str) -> LabelTable:
    """A table by its name (see TABLES), or read from a JSON file of [{"name": ..., "color": [r, g, b]}, ...].

    Raises UsageProblem for an unknown name, BadInput for a file that is no label table.
    """
    if name in TABLES:
        return TABLES[name]
    if not name.endswith(".json"):
        raise UsageProblem(f"There is no label table named {name!r}", hint=f"Choose one of {', '.join(TABLES)}, or give a .json file")
    try:
        entries = json.loads(Path(name).read_text(encoding="utf-8"))
        rows = [(str(entry["name"]), entry["color"]) for entry in entries]
        return LabelTable(Path(name).stem, tuple(row[0] for row in rows), tuple(_colour(row[1]) for row in rows))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{name} is not a label table ({error})", hint='Expected: [{"name": "sky", "color": [0, 9, 99]}, ...]') from error


def _colour(value: Any) -> Colour:
    red, green, blue = (int(channel) for channel in value)
    if not all(0 <= channel <= 255 for channel in (red, green, blue)):
        raise ValueError(f"a colour is three numbers from 0 to 255, not {value}")
    return red, green, blue


def _table_of_meta(meta: Mapping[str, Any]) -> LabelTable:
    names, palette = meta.get("names"), meta.get("palette")
    if not isinstance(names, list) or not isinstance(palette, list) or len(names) != len(palette) or not names:
        raise InvalidClip("The segment layer does not say what its labels are", hint="Its layer.json needs `names` and `palette`")
    try:
        return LabelTable(str(meta.get("table", "")), tuple(str(name) for name in names), tuple(_colour(colour) for colour in palette))
    except (TypeError, ValueError) as error:
        raise InvalidClip(f"The palette of the segment layer cannot be read: {error}") from error


def _table(name: str, rows: str) -> LabelTable:
    """rows: one label per line, its colour as six hexadecimal digits, then its name."""
    pairs = [line.strip().split(" ", 1) for line in rows.strip().splitlines()]
    return LabelTable(name, tuple(pair[1] for pair in pairs), tuple(_colour(bytes.fromhex(pair[0])) for pair in pairs))


_CITYSCAPES = """
    000000 unlabeled
    000000 ego vehicle
    000000 rectification border
    000000 out of roi
    000000 static
    6f4a00 dynamic
    510051 ground
    804080 road
    f423e8 sidewalk
    faaaa0 parking
    e6968c rail track
    464646 building
    66669c wall
    be9999 fence
    b4a5b4 guard rail
    966464 bridge
    96785a tunnel
    999999 pole
    999999 polegroup
    faaa1e traffic light
    dcdc00 traffic sign
    6b8e23 vegetation
    98fb98 terrain
    4682b4 sky
    dc143c person
    ff0000 rider
    00008e car
    000046 truck
    003c64 bus
    00005a caravan
    00006e trailer
    005064 train
    0000e6 motorcycle
    770b20 bicycle
"""
_TRAINED = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
_CAMVID = """
    808080 sky
    800000 building
    c0c080 pole
    804080 road
    3c28de pavement
    808000 tree
    c08080 sign
    404080 fence
    400080 car
    404000 pedestrian
    0080c0 bicyclist
    000000 void
"""

CITYSCAPES_IDS = _table("cityscapes-ids", _CITYSCAPES)
CITYSCAPES_TRAIN_IDS = LabelTable(
    "cityscapes-train-ids",
    tuple(CITYSCAPES_IDS.names[index] for index in _TRAINED),
    tuple(CITYSCAPES_IDS.palette[index] for index in _TRAINED),
)
CAMVID = _table("camvid", _CAMVID)
PERSON = _table("person", "000000 background\nffffff person")

TABLES: Mapping[str, LabelTable] = {known.name: known for known in (CITYSCAPES_IDS, CITYSCAPES_TRAIN_IDS, CAMVID, PERSON)}
"""The tables that are known by name."""
