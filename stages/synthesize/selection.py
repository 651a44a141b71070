"""Choose the examples from which a frame is made (adaptive compact attention, section 3.2: reference selection)."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

DEFAULT_HYSTERESIS = 0.25
"""A choice of examples is kept while the frame is outside the triangle by less than this share of the triangle. Outside of all triangles it
is kept while the chosen examples are farther from the frame than the nearest ones by less than this share of the distance."""


class AppearanceMap:
    """Examples as points in a plane, with their Delaunay triangulation.

    coordinates: [D] for each of the n examples (`Kind.appearance_coordinates`). More than two are reduced to two by a principal component
    analysis.
    """

    def __init__(self, coordinates: Sequence[NDArray[np.float64]]) -> None:
        from scipy.spatial import Delaunay, QhullError

        stacked = np.stack(coordinates)
        self._middle, self._axes = stacked.mean(0), np.eye(stacked.shape[1])[:2]
        if stacked.shape[1] > 2:
            self._axes = np.linalg.svd(stacked - self._middle, full_matrices=False)[2][:2]
        self.points = (stacked - self._middle) @ self._axes.T
        try:
            self._triangulation = Delaunay(self.points) if len(stacked) > 3 and len(self._axes) == 2 else None
        except QhullError:  # all on one line
            self._triangulation = None

    def locate(self, coordinates: NDArray[np.float64]) -> NDArray[np.float64]:
        """The point [2] in the plane for a frame's coordinates [D]."""
        return np.asarray((coordinates - self._middle) @ self._axes.T)

    def triangle(self, point: NDArray[np.float64]) -> int:
        """The index of the triangle that contains the point; -1 outside the hull, and if there are no triangles."""
        return -1 if self._triangulation is None else int(self._triangulation.find_simplex(point))

    def distance_outside(self, point: NDArray[np.float64], triangle: int) -> float:
        """How far the point is outside the triangle, as a share of the triangle's height; 0 or less inside."""
        assert self._triangulation is not None
        transform = self._triangulation.transform[triangle]
        first = transform[:2] @ (point - transform[2])
        return -float(min(*first, 1 - first.sum()))

    def corners_around(self, triangle: int, count: int) -> tuple[int, ...]:
        """`count` examples: the corners of the triangle, then those of the triangles that share an edge with it, and so on."""
        assert self._triangulation is not None
        chosen: dict[int, None] = {}
        waiting, visited = deque([triangle]), {triangle}
        while waiting and len(chosen) < count:
            present = waiting.popleft()
            chosen.update(dict.fromkeys(self._triangulation.simplices[present].tolist()))
            for neighbour in self._triangulation.neighbors[present].tolist():
                if neighbour >= 0 and neighbour not in visited:
                    visited.add(neighbour)
                    waiting.append(neighbour)
        return tuple(sorted(list(chosen)[:count]))

    def nearest(self, point: NDArray[np.float64], count: int) -> tuple[int, ...]:
        """The `count` examples closest to a point."""
        return tuple(sorted(np.argsort(self.distances(point), kind="stable")[:count].tolist()))

    def distances(self, point: NDArray[np.float64]) -> NDArray[np.float64]:
        """The distances from a point to the examples, [n]."""
        return np.asarray(np.linalg.norm(self.points - point, axis=1))


class Selector:
    """Called with the coordinates of each frame in order; returns the indices of its examples in ascending order.

    Inside the hull of the examples these are the corners of the frame's triangle and, if `count` is larger than three, of its neighbours.
    Outside of the hull it is the nearest example. Without triangles, or if `count` is below three, it is the `count` nearest. With a
    `hysteresis` above 0 a choice is kept for a while after another one is better, because each change is visible.
    """

    def __init__(self, appearance: AppearanceMap, count: int = 3, hysteresis: float = DEFAULT_HYSTERESIS) -> None:
        self._map, self._count, self._hysteresis = appearance, count, hysteresis
        self._uses_triangles = count >= 3 and appearance.triangle(appearance.points.mean(0)) >= 0
        self._triangle: int | None = None
        self._chosen: tuple[int, ...] = ()

    def __call__(self, coordinates: NDArray[np.float64]) -> tuple[int, ...]:
        point = self._map.locate(coordinates)
        if self._keeps_choice(point):
            return self._chosen
        self._triangle = self._find_triangle(point)
        if self._triangle >= 0:
            self._chosen = self._map.corners_around(self._triangle, self._count)
        else:
            self._chosen = self._map.nearest(point, 1 if self._uses_triangles else self._count)
        return self._chosen

    def _keeps_choice(self, point: NDArray[np.float64]) -> bool:
        if self._triangle is None or self._hysteresis == 0:
            return False
        if self._triangle >= 0:
            return self._map.distance_outside(point, self._triangle) <= self._hysteresis
        if self._find_triangle(point) >= 0:
            return False
        distances = self._map.distances(point)
        best = self._map.nearest(point, len(self._chosen))
        return bool(distances[list(self._chosen)].sum() <= (1 + self._hysteresis) * distances[list(best)].sum())

    def _find_triangle(self, point: NDArray[np.float64]) -> int:
        """The index of the triangle that contains the point; -1 if there is none."""
        return self._map.triangle(point) if self._uses_triangles else -1
