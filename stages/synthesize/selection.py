"""Which of many examples a frame is made from (adaptive compact attention, section 3.2: reference selection)."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

KEPT_OUTSIDE = 0.25
"""Hysteresis: a choice stays while the frame leaves it by less than this share of the triangle, or of the distance to a nearer one."""


class AppearanceMap:
    """Examples as points in a plane, joined by a Delaunay triangulation.

    places: [n, D] coordinates of the examples (`Kind.place`); more than two are reduced to the two in which the examples differ most.
    """

    def __init__(self, places: Sequence[NDArray[np.float64]]) -> None:
        from scipy.spatial import Delaunay, QhullError

        stacked = np.stack(places)
        self._middle, self._axes = stacked.mean(0), np.eye(stacked.shape[1])[:2]
        if stacked.shape[1] > 2:
            self._axes = np.linalg.svd(stacked - self._middle, full_matrices=False)[2][:2]
        self.points = (stacked - self._middle) @ self._axes.T
        try:
            self._mesh = Delaunay(self.points) if len(stacked) > 3 and len(self._axes) == 2 else None
        except QhullError:  # all on one line
            self._mesh = None

    def locate(self, place: NDArray[np.float64]) -> NDArray[np.float64]:
        """The point [2] of a frame's coordinates [D]."""
        return np.asarray((place - self._middle) @ self._axes.T)

    def triangle(self, point: NDArray[np.float64]) -> int:
        """The triangle that holds the point; -1 outside the hull, and where there are no triangles."""
        return -1 if self._mesh is None else int(self._mesh.find_simplex(point))

    def leaves(self, point: NDArray[np.float64], triangle: int) -> float:
        """By how much of the triangle the point lies outside it; 0 or less within."""
        assert self._mesh is not None
        transform = self._mesh.transform[triangle]
        first = transform[:2] @ (point - transform[2])
        return -float(min(*first, 1 - first.sum()))

    def around(self, triangle: int, count: int) -> tuple[int, ...]:
        """`count` examples: the triangle's corners, then those of the triangles that share an edge with it, and so on."""
        assert self._mesh is not None
        chosen: dict[int, None] = {}
        waiting, visited = deque([triangle]), {triangle}
        while waiting and len(chosen) < count:
            present = waiting.popleft()
            chosen.update(dict.fromkeys(self._mesh.simplices[present].tolist()))
            for neighbour in self._mesh.neighbors[present].tolist():
                if neighbour >= 0 and neighbour not in visited:
                    visited.add(neighbour)
                    waiting.append(neighbour)
        return tuple(sorted(list(chosen)[:count]))

    def nearest(self, point: NDArray[np.float64], count: int) -> tuple[int, ...]:
        """The `count` examples closest to a point."""
        return tuple(sorted(np.argsort(self.distances(point), kind="stable")[:count].tolist()))

    def distances(self, point: NDArray[np.float64]) -> NDArray[np.float64]:
        """From a point to each example, [n]."""
        return np.asarray(np.linalg.norm(self.points - point, axis=1))


class Selector:
    """Called with the coordinates of each frame in order; gives the indices of the examples that it is made from, in ascending order.

    Within the hull of the examples these are the corners of the frame's triangle, and of its neighbours when more than three are wanted;
    outside of it the nearest example. A choice is kept a little longer than it is best (`hysteresis`, 0 for never), because each change
    can be seen.
    """

    def __init__(self, appearance: AppearanceMap, count: int = 3, hysteresis: float = KEPT_OUTSIDE) -> None:
        self._map, self._count, self._hysteresis = appearance, count, hysteresis
        self._triangle: int | None = None
        self._chosen: tuple[int, ...] = ()

    def __call__(self, place: NDArray[np.float64]) -> tuple[int, ...]:
        point = self._map.locate(place)
        if self._stays(point):
            return self._chosen
        self._triangle = self._map.triangle(point)
        if self._triangle >= 0:
            self._chosen = self._map.around(self._triangle, self._count)
        else:
            self._chosen = self._map.nearest(point, 1 if self._has_hull() else self._count)
        return self._chosen

    def _stays(self, point: NDArray[np.float64]) -> bool:
        if self._triangle is None or self._hysteresis == 0:
            return False
        if self._triangle >= 0:
            return self._map.leaves(point, self._triangle) <= self._hysteresis
        if self._map.triangle(point) >= 0:
            return False
        distances = self._map.distances(point)
        best = self._map.nearest(point, len(self._chosen))
        return bool(distances[list(self._chosen)].sum() <= (1 + self._hysteresis) * distances[list(best)].sum())

    def _has_hull(self) -> bool:
        return self._map.triangle(self._map.points.mean(0)) >= 0
