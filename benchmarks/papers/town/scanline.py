"""Triangles to pixels: all rows of all triangles at once, then all pixels of all rows, without a loop over either."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
Index = NDArray[np.int64]


def scan(corners: Array, width: int, height: int) -> tuple[Index, Index]:
    """The points of a grid (at integers) in triangles: flat places [M] in [height, width], and the triangle [M] of each.

    corners [N, 3, 2]: x, y. Triangles that share an edge share no point and leave none out, whichever way they turn.
    """
    order = np.argsort(corners[..., 1], axis=1, kind="stable")
    x, y = (np.take_along_axis(corners[..., axis], order, 1).T for axis in (0, 1))
    top, bottom = (np.clip(np.ceil(edge), 0, height).astype(np.int64) for edge in (y[0], y[2]))
    triangle, row = _runs(top, bottom)
    down = row.astype(np.float64)
    long_side = _crossing(x, y, 0, 2, triangle, down)
    short_side = np.where(down < y[1][triangle], _crossing(x, y, 0, 1, triangle, down), _crossing(x, y, 1, 2, triangle, down))
    left, right = (np.clip(np.ceil(edge(long_side, short_side)), 0, width).astype(np.int64) for edge in (np.minimum, np.maximum))
    run, column = _runs(left, right)
    return row[run] * width + column, triangle[run]


def _crossing(x: Array, y: Array, upper: int, lower: int, triangle: Index, down: Array) -> Array:
    """Where the edge from corner `upper` to `lower` crosses each row."""
    rise = y[lower] - y[upper]
    slope = (x[lower] - x[upper]) / np.where(rise > 0, rise, 1)
    return np.asarray(x[upper][triangle] + (down - y[upper][triangle]) * slope[triangle])


def _runs(first: Index, end: Index) -> tuple[Index, Index]:
    """Owner and value of all integers in the intervals [first, end)."""
    count = np.maximum(end - first, 0)
    owner = np.repeat(np.arange(len(count)), count)
    return owner, np.arange(len(owner)) + np.repeat(first - np.cumsum(count) + count, count)
