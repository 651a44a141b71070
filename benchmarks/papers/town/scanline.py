"""Scan conversion of triangles: first all rows of all triangles at once, then all pixels of all rows, without Python loops over them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
Index = NDArray[np.int64]


class Scan:
    """The points of an integer grid that lie in triangles, as runs: adjacent points of one row of the grid.

    Where triangles share an edge, each point belongs to exactly one of them, whatever their orientation.
    """

    def __init__(self, corners: Array, width: int, height: int) -> None:
        """corners [N, 3, 2]: x, y on a grid of width x height points."""
        order = np.argsort(corners[..., 1], axis=1, kind="stable")
        x, y = (np.ascontiguousarray(np.take_along_axis(corners[..., axis], order, 1).T) for axis in (0, 1))
        top, bottom = (np.clip(np.ceil(edge), 0, height).astype(np.int64) for edge in (y[0], y[2]))
        triangle, row = _integers_in(top, bottom)
        down = row.astype(np.float64)
        long_side = _crossing(x, y, 0, 2, triangle, down)
        short_side = np.where(down < y[1][triangle], _crossing(x, y, 0, 1, triangle, down), _crossing(x, y, 1, 2, triangle, down))
        left, right = (np.clip(np.ceil(edge(long_side, short_side)), 0, width).astype(np.int64) for edge in (np.minimum, np.maximum))
        filled = np.flatnonzero(right > left)
        self.width = width
        self.run_triangles, self.row = triangle[filled], row[filled]  # one entry for each run
        self.left, self.count = left[filled], (right - left)[filled]

    def indices(self) -> Index:
        """Indices [M] of the points in the flattened grid [height, width]."""
        first = self.row * self.width + self.left
        return np.arange(int(self.count.sum())) + np.repeat(first - np.cumsum(self.count) + self.count, self.count)

    def triangles(self) -> Index:
        """The triangle of each point, [M]."""
        return np.repeat(self.run_triangles, self.count)

    def values(self, planes: Array) -> Array:
        """Values [M] float64 at the points. planes [N, 3]: an affine function for each triangle: factors of x and y, constant."""
        slope = planes[self.run_triangles, 0]
        start = slope * self.left + planes[self.run_triangles, 1] * self.row + planes[self.run_triangles, 2]
        step = np.arange(int(self.count.sum())) - np.repeat(np.cumsum(self.count) - self.count, self.count)
        return np.asarray(np.repeat(start, self.count) + np.repeat(slope, self.count) * step)


def _crossing(x: Array, y: Array, upper: int, lower: int, triangle: Index, down: Array) -> Array:
    """x at which the edge from corner `upper` to `lower` crosses each row."""
    rise = y[lower] - y[upper]
    slope = (x[lower] - x[upper]) / np.where(rise > 0, rise, 1)
    return np.asarray(x[upper][triangle] + (down - y[upper][triangle]) * slope[triangle])


def _integers_in(first: Index, end: Index) -> tuple[Index, Index]:
    """All integers in the intervals [first, end): the index of the interval, and the integer."""
    count = np.maximum(end - first, 0)
    owner = np.repeat(np.arange(len(count)), count)
    return owner, np.arange(len(owner)) + np.repeat(first - np.cumsum(count) + count, count)
