"""Shadow maps: for each cell of a plane perpendicular to the sunlight, how far the nearest surface lies towards the sun."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .atlas import Atlas
from .meshes import Mesh, affine_functions, area_vectors
from .scanline import Scan

Array = NDArray[np.floating]

_AT_ONCE = 3000
"""Number of triangles that are scanned at once; limits the memory."""


class ShadowMap:
    """The shadow map of the triangles of a mesh in a box of the world."""

    def __init__(self, mesh: Mesh, atlas: Atlas, sun_direction: Array, low: Array, high: Array, cell: float, side: int) -> None:
        """sun_direction [3]: unit vector to the sun; low, high [3]: corners of the box.

        Cells are at least `cell` metres wide, and there are at most about `side` in a row.
        """
        self.sun_direction = np.asarray(sun_direction, np.float64)
        right = np.cross([0.0, 1.0, 0.0], self.sun_direction)
        right /= np.linalg.norm(right)
        self.axes = np.stack([right, np.cross(self.sun_direction, right)], 1)
        ends = np.array([[(low, high)[bit >> axis & 1][axis] for axis in range(3)] for bit in range(8)]) @ self.axes
        self.low = ends.min(0)
        span = np.ptp(ends, 0)
        self.cell = max(cell, float(span.max()) / side)
        self.width, self.height = (max(2, int(np.ceil(extent / self.cell)) + 1) for extent in span)
        self.nearest = np.full(self.width * self.height, -1e6, np.float32)
        projected = mesh.corners @ self.axes
        inside = ((projected.max(1) > self.low) & (projected.min(1) < self.low + span)).all(1)
        for start in range(0, len(mesh), _AT_ONCE):
            chosen = start + np.flatnonzero(inside[start : start + _AT_ONCE])
            if len(chosen):
                self._cast(mesh.select(chosen), atlas)

    def _cast(self, mesh: Mesh, atlas: Atlas) -> None:
        """Update the map with the triangles of `mesh`."""
        flat = (mesh.corners @ self.axes - self.low) / self.cell
        scan = Scan(flat, self.width, self.height)
        slanted = area_vectors(mesh.corners)
        tilt = slanted @ self.sun_direction
        tilt = np.where(np.abs(tilt) < 1e-7, 1e-7, tilt)
        slope = -(slanted @ self.axes) / tilt[:, None]
        level = np.einsum("ni,ni->n", slanted, mesh.corners[:, 0]) / tilt + slope @ self.low
        indices, near = scan.indices(), scan.values(np.column_stack([slope * self.cell, level]))
        owner = scan.triangles()
        cutout = np.flatnonzero(mesh.cutout[owner])
        if len(cutout):
            tables = affine_functions(mesh.corners, mesh.uv)[owner[cutout]]
            cells = np.stack([indices[cutout] % self.width, indices[cutout] // self.width], -1) * self.cell + self.low
            points = cells @ self.axes.T + near[cutout, None] * self.sun_direction
            uv = np.einsum("nij,nj->ni", tables[..., :3], points) + tables[..., 3]
            gaps = cutout[~atlas.is_opaque(mesh.tile[owner[cutout]], uv, np.full(len(cutout), 16.0))]
            near[gaps] = -1e6
        np.maximum.at(self.nearest, indices, near.astype(np.float32))

    def lit(self, points: Array) -> Array:
        """1 where the sun reaches the points [N, 3], 0 in shadow; at edges between, interpolated from the four nearest cells."""
        cells = ((points @ self.axes.astype(np.float32)) - self.low.astype(np.float32)) / np.float32(self.cell)
        level = points @ self.sun_direction.astype(np.float32)
        corner = np.floor(cells).astype(np.int32)
        share = cells - corner
        outside = (corner < 0).any(1) | (corner[:, 0] >= self.width - 1) | (corner[:, 1] >= self.height - 1)
        index = np.where(outside, 0, corner[:, 1] * self.width + corner[:, 0])
        total = np.zeros(len(points), np.float32)
        for right, up in ((0, 0), (1, 0), (0, 1), (1, 1)):
            weight = np.abs(1 - right - share[:, 0]) * np.abs(1 - up - share[:, 1])
            total += weight * (self.nearest[index + (up * self.width + right)] <= level)
        total[outside] = 1
        return total
