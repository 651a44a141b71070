"""Edit label maps, as in vid2vid: for example, turn trees into buildings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stages.conditions.labels import LabelTable
from stages.errors import UsageError


def edit_lookup(edits: Sequence[str], table: LabelTable) -> NDArray[np.uint8]:
    """A lookup, uint8 [256], such that `lookup[ids]` is the edited label map.

    edits: such as "tree=building", with names or ids of the table. They apply simultaneously, so "a=b" and "b=a" exchange two labels.
    Raises UsageError for text that is not an edit, for an unknown label, and when one label is to become two others.
    """
    lookup = np.arange(256, dtype=np.uint8)
    edited: dict[int, int] = {}
    for edit in edits:
        before, equals, after = edit.partition("=")
        if not equals:
            raise UsageError(f"{edit!r} is not an edit of labels", hint="Write it as tree=building")
        old, new = _id(before.strip(), table), _id(after.strip(), table)
        if edited.setdefault(old, new) != new:
            both = f"{table.names[edited[old]]} and {table.names[new]}"
            raise UsageError(f"{table.names[old]} cannot become both {both}", code="label-edited-twice")
        lookup[old] = new
    return lookup


def _id(label: str, table: LabelTable) -> int:
    if label in table.names:
        return table.names.index(label)
    if label.isdecimal() and int(label) < len(table.names):
        return int(label)
    raise UsageError(f"The label table {table.name} has no label {label!r}", hint=f"Choose from {', '.join(dict.fromkeys(table.names))}")
