"""Which places the sun reaches: maps of how near the sun surfaces come, cell by cell of a plane across its light."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .meshes import Mesh, facings, gradients
from .scanline import Scan
from .tiles import Atlas

Array = NDArray[np.floating]

_AT_ONCE = 3000
"""Triangles that are scanned together, which bounds the memory."""


class ShadowMap:
    """Of the triangles of a mesh within a box of the world."""

    def __init__(self, mesh: Mesh, atlas: Atlas, towards: Array, low: Array, high: Array, cell: float, side: int) -> None:
        """towards [3]: to the sun; low, high [3]: the box. Cells are at least `cell` metres wide, and at most `side` lie in a row."""
        self.towards = np.asarray(towards, np.float64)
        right = np.cross([0.0, 1.0, 0.0], self.towards)
        right /= np.linalg.norm(right)
        self.axes = np.stack([right, np.cross(self.towards, right)], 1)
        ends = np.array([[(low, high)[bit >> axis & 1][axis] for axis in range(3)] for bit in range(8)]) @ self.axes
        self.low = ends.min(0)
        span = np.ptp(ends, 0)
        self.cell = max(cell, float(span.max()) / side)
        self.width, self.height = (max(2, int(np.ceil(extent / self.cell)) + 1) for extent in span)
        self.nearest = np.full(self.width * self.height, -1e6, np.float32)
        places = mesh.corners @ self.axes
        inside = ((places.max(1) > self.low) & (places.min(1) < self.low + span)).all(1)
        for start in range(0, len(mesh), _AT_ONCE):
            chosen = start + np.flatnonzero(inside[start : start + _AT_ONCE])
            if len(chosen):
                self._cast(mesh.chosen(chosen), atlas)

    def _cast(self, mesh: Mesh, atlas: Atlas) -> None:
        flat = (mesh.corners @ self.axes - self.low) / self.cell
        found = Scan(flat, self.width, self.height)
        slanted = facings(mesh.corners)
        tilt = slanted @ self.towards
        tilt = np.where(np.abs(tilt) < 1e-7, 1e-7, tilt)
        slope = -(slanted @ self.axes) / tilt[:, None]
        level = np.einsum("ni,ni->n", slanted, mesh.corners[:, 0]) / tilt + slope @ self.low
        places, near = found.places(), found.values(np.column_stack([slope * self.cell, level]))
        owner = found.triangles()
        leafy = np.flatnonzero(mesh.leafy[owner])
        if len(leafy):
            tables = gradients(mesh.corners, mesh.uv)[owner[leafy]]
            cells = np.stack([places[leafy] % self.width, places[leafy] // self.width], -1) * self.cell + self.low
            points = cells @ self.axes.T + near[leafy, None] * self.towards
            uv = np.einsum("nij,nj->ni", tables[..., :3], points) + tables[..., 3]
            gaps = leafy[~atlas.covered(mesh.tile[owner[leafy]], uv, np.full(len(leafy), 16.0))]
            near[gaps] = -1e6
        np.maximum.at(self.nearest, places, near.astype(np.float32))

    def lit(self, points: Array) -> Array:
        """1 where the sun reaches the points [N, 3], 0 in shadow; between, the mean of the answers of the four nearest cells."""
        places = ((points @ self.axes.astype(np.float32)) - self.low.astype(np.float32)) / np.float32(self.cell)
        level = points @ self.towards.astype(np.float32)
        corner = np.floor(places).astype(np.int32)
        share = places - corner
        outside = (corner < 0).any(1) | (corner[:, 0] >= self.width - 1) | (corner[:, 1] >= self.height - 1)
        index = np.where(outside, 0, corner[:, 1] * self.width + corner[:, 0])
        total = np.zeros(len(points), np.float32)
        for right, up in ((0, 0), (1, 0), (0, 1), (1, 1)):
            weight = np.abs(1 - right - share[:, 0]) * np.abs(1 - up - share[:, 1])
            total += weight * (self.nearest[index + (up * self.width + right)] <= level)
        total[outside] = 1
        return total
