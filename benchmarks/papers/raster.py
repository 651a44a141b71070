"""A z-buffer for meshes of small triangles in numpy, without Python loops over triangles or pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]


@dataclass(frozen=True)
class Fragments:
    """The visible surface in N pixels of an image of the size `shape`, (H, W).

    pixels [N]: indices in the flattened image; faces [N]: the visible face; weights [N, 3]: barycentric coordinates.
    """

    pixels: np.ndarray
    faces: np.ndarray
    weights: Array
    shape: tuple[int, int]

    def values(self, vertices: Array, faces: np.ndarray) -> Array:
        """Interpolate values [V, C] of vertices to the pixels, [N, C]."""
        corners = faces[self.faces]
        total = vertices[corners[:, 0]] * self.weights[:, :1]
        for corner in (1, 2):
            total += vertices[corners[:, corner]] * self.weights[:, corner : corner + 1]
        return total

    def corner_values(self, values: Array) -> Array:
        """Interpolate values [F, 3, C] of the faces' corners to the pixels, [N, C]."""
        return np.einsum("nkc,nk->nc", values[self.faces], self.weights)


def rasterise(positions: Array, depth: Array, faces: np.ndarray, height: int, width: int) -> Fragments:
    """The visible surface of a mesh: positions [V, 2] in pixels (centres at integers), depth [V], faces [F, 3].

    Back faces are left out, and so are triangles that span 200 pixels or more.
    """
    corners = positions[faces].astype(np.float32)
    edge_one, edge_two = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    area = edge_one[:, 0] * edge_two[:, 1] - edge_one[:, 1] * edge_two[:, 0]
    low = np.ceil(corners.min(1)).astype(np.int32)
    span = np.floor(corners.max(1)).astype(np.int32) - low + 1
    limit = np.array([width, height])
    drawable = (area < 0) & (span > 0).all(1) & (low < limit).all(1) & (low + span > 0).all(1) & (span < 200).all(1)
    fragments = [_scan(chosen, side, corners, area, low, limit) for chosen, side in _by_size(np.flatnonzero(drawable), span.max(1))]
    empty = (np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 3), np.float32))
    pixels, owners, weights = (np.concatenate(parts) for parts in zip(empty, *fragments, strict=True))
    near = np.einsum("nk,nk->n", depth.astype(np.float32)[faces[owners]], weights)
    nearest = np.full(height * width, np.inf, np.float32)
    np.minimum.at(nearest, pixels, near)
    winner = np.full(height * width, -1, np.int64)
    first = near <= nearest[pixels]
    winner[pixels[first]] = np.flatnonzero(first)
    seen = winner[winner >= 0]
    return Fragments(pixels[seen], owners[seen], weights[seen], (height, width))


def _by_size(drawable: np.ndarray, span: np.ndarray) -> list[tuple[np.ndarray, int]]:
    """Groups of triangles (indices, side) that fit in a square of `side` pixels."""
    groups, smaller = [], 0
    for side in (1, 2, 3, 4, 6, 10, 20, 50, 200):
        chosen = drawable[(span[drawable] > smaller) & (span[drawable] <= side)]
        if len(chosen):
            groups.append((chosen, side))
        smaller = side
    return groups


def _scan(
    chosen: np.ndarray, side: int, corners: Array, area: Array, low: np.ndarray, limit: np.ndarray
) -> tuple[np.ndarray, np.ndarray, Array]:
    """(pixels, faces, weights) of all pixel centres in the chosen triangles, which fit in a square of `side` pixels."""
    offsets = np.stack(np.meshgrid(np.arange(side), np.arange(side)), -1).reshape(1, -1, 2)
    pixel = low[chosen][:, None] + offsets
    zero, one, two = (corners[chosen, index][:, None] for index in range(3))
    relative = pixel.astype(np.float32) - zero
    a, b = one - zero, two - zero
    scale = (1 / area[chosen])[:, None]
    second = (relative[..., 0] * b[..., 1] - relative[..., 1] * b[..., 0]) * scale
    third = (a[..., 0] * relative[..., 1] - a[..., 1] * relative[..., 0]) * scale
    inside = (second >= 0) & (third >= 0) & (second + third <= 1) & (pixel >= 0).all(-1) & (pixel < limit).all(-1)
    row, column = np.nonzero(inside)
    at = pixel[row, column].astype(np.int64)
    second, third = second[row, column], third[row, column]
    return at[:, 1] * limit[0] + at[:, 0], chosen[row], np.stack([1 - second - third, second, third], -1)
