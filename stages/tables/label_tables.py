"""Label tables: names and colours of label ids, and the ids that files use for them.

A label map is uint8 [H, W]; the value is an index into the table's names. VOID (255) belongs to no label.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.errors import READ_ERRORS, InputError, UsageError
from stages.io.reading import parse_json

VOID = 255

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class LabelTable:
    """Names and RGB colours of label ids 0, 1, 2, ..."""

    name: str
    names: tuple[str, ...]
    palette: tuple[Colour, ...]
    ids: tuple[int, ...] = ()
    """The value of each label in files, if these are not 0, 1, 2, ...; then all other values in files are void."""
    void: tuple[int, ...] = ()
    """Values other than 255 that files use for void."""

    def __post_init__(self) -> None:
        if len(self.names) > VOID:
            raise ValueError(f"a table has at most {VOID} labels, not {len(self.names)}")

    def meta(self) -> dict[str, Any]:
        """The entries of layer.json about label ids."""
        meta: dict[str, Any] = {"table": self.name, "names": list(self.names), "palette": [list(colour) for colour in self.palette]}
        return {**meta, "ids": list(self.ids)} if self.ids else meta

    def indices(self, values: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The values [H, W] of a file -> indices into `names`, VOID for void. Raises InputError for an unknown value if `ids` is empty."""
        lookup = np.full(256, VOID, np.uint8)
        lookup[list(self.ids or range(len(self.names)))] = np.arange(len(self.names))
        if not self.ids:
            unknown = [value for value in np.unique(values).tolist() if len(self.names) <= value < VOID and value not in self.void]
            if unknown:
                raise InputError(f"it has the label id {unknown[0]}, but the table {self.name} ends at {len(self.names) - 1}")
        return lookup[values]


def find_table(name: str) -> LabelTable:
    """A table by its name (see TABLES), or read from a JSON file of [{"name": ..., "color": [r, g, b]}, ...].

    Raises UsageError for an unknown name, InputError for a file that is not a label table.
    """
    if name in TABLES:
        return TABLES[name]
    if not name.endswith(".json"):
        raise UsageError(f"There is no label table named {name!r}", hint=f"Choose one of {', '.join(TABLES)}, or give a .json file")
    try:
        entries = parse_json(Path(name).read_text(encoding="utf-8-sig"))
        rows = [(str(entry["name"]), entry["color"]) for entry in entries]
        return LabelTable(Path(name).stem, tuple(row[0] for row in rows), tuple(parse_colour(row[1]) for row in rows))
    except READ_ERRORS as error:
        raise InputError(f"{name} is not a label table ({error})", hint='Expected: [{"name": "sky", "color": [0, 9, 99]}, ...]') from error


def parse_colour(value: Any) -> Colour:
    """[r, g, b] of a JSON file. Raises ValueError or TypeError."""
    red, green, blue = value
    if not all(isinstance(channel, (int, float)) and 0 <= channel <= 255 for channel in (red, green, blue)):
        raise ValueError(f"a colour is three numbers from 0 to 255, not {value!r:.100}")
    return int(red), int(green), int(blue)


def _parse_table(name: str, rows: str) -> LabelTable:
    """rows: one label per line, as its colour in six hexadecimal digits and its name."""
    pairs = [line.strip().split(" ", 1) for line in rows.strip().splitlines()]
    return LabelTable(name, tuple(pair[1] for pair in pairs), tuple(parse_colour(bytes.fromhex(pair[0])) for pair in pairs))


def _parse_sparse_table(name: str, rows: str) -> LabelTable:
    """rows: one label per line, as the id that files use, its colour and its name."""
    triples = [line.strip().split(" ", 2) for line in rows.strip().splitlines()]
    dense = _parse_table(name, "\n".join(f"{colour} {label}" for _, colour, label in triples))
    return LabelTable(name, dense.names, dense.palette, tuple(int(value) for value, _, _ in triples))


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
_TRAIN_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
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
_APOLLOSCAPE = """
    0 000000 others
    1 000000 rover
    17 4682b4 sky
    33 00008e car
    34 0000e6 motorcycle
    35 770b20 bicycle
    36 0080c0 person
    37 804080 rider
    38 8000c0 truck
    39 c00040 bus
    40 8080c0 tricycle
    49 c080c0 road
    50 c08040 sidewalk
    65 000040 traffic cone
    66 0000c0 road pile
    67 404080 fence
    81 c04080 traffic light
    82 c08080 pole
    83 004040 traffic sign
    84 c0c080 wall
    85 4000c0 dustbin
    86 c000c0 billboard
    97 c00080 building
    98 808000 bridge
    99 800000 tunnel
    100 408040 overpass
    113 808040 vegetation
    161 00008e car group
    162 0000e6 motorcycle group
    163 770b20 bicycle group
    164 0080c0 person group
    165 804080 rider group
    166 8000c0 truck group
    167 c00040 bus group
    168 8080c0 tricycle group
"""

CITYSCAPES_IDS = replace(_parse_table("cityscapes-ids", _CITYSCAPES), void=(34,))
"""Licence plates have the id -1, which is 255 in 8 bits; the code of vid2vid writes 34."""
CITYSCAPES_TRAIN_IDS = LabelTable(
    "cityscapes-train-ids",
    tuple(CITYSCAPES_IDS.names[index] for index in _TRAIN_IDS),
    tuple(CITYSCAPES_IDS.palette[index] for index in _TRAIN_IDS),
)
CAMVID = _parse_table("camvid", _CAMVID)
APOLLOSCAPE = _parse_sparse_table("apolloscape", _APOLLOSCAPE)
"""The classes of ApolloScape's scene parsing set; a group consists of objects that could not be separated.

Layers hold the index of a class, 0 to 34, not its id.
"""
PERSON = _parse_table("person", "000000 background\nffffff person")

TABLES: Mapping[str, LabelTable] = {known.name: known for known in (CITYSCAPES_IDS, CITYSCAPES_TRAIN_IDS, CAMVID, APOLLOSCAPE, PERSON)}
"""The built-in tables by name."""
