"""Triangle meshes with texture, colour, label and instance: quads, boxes, lofts, tubes and discs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
WHITE = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Paint:
    """What a surface looks like, and its label and instance (0: none).

    tile: its number in the atlas. tint: linear RGB, by which the tinted parts of the tile are multiplied.
    cutout: the surface exists only where the tile's channel ALPHA is set, and is visible from both sides (leaves, railings).
    """

    tile: int
    label: int
    tint: tuple[float, float, float] = WHITE
    cutout: bool = False
    instance: int = 0

    def with_tint(self, *tint: float) -> Paint:
        return replace(self, tint=(tint[0], tint[1], tint[2]))


@dataclass(frozen=True)
class Mesh:
    """N triangles, counter-clockwise when seen from outside; x right, y up, z ahead, in metres.

    corners, normals [N, 3, 3]; the length of a normal, in (0, 1], is the share of the sky's light that reaches the surface.
    uv [N, 3, 2]: texture coordinates, v up; a tile repeats at each integer. tile, label, instance (0: none), part (index of the rigid
    part that the triangle belongs to) [N]; tint [N, 3]; cutout [N].
    """

    corners: Array
    normals: Array
    uv: Array
    tile: NDArray[np.int64]
    label: NDArray[np.uint8]
    instance: NDArray[np.int64]
    part: NDArray[np.int64]
    tint: Array
    cutout: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.tile)

    def transform(self, motion: Array) -> Mesh:
        """The mesh moved by motion [3, 4]: rotation and translation. A scaling would also scale the lengths of the normals."""
        return replace(self, corners=self.corners @ motion[:, :3].T + motion[:, 3], normals=self.normals @ motion[:, :3].T)

    def with_instance(self, instance: int, part: int = 0) -> Mesh:
        return replace(self, instance=np.full(len(self), instance), part=np.full(len(self), part))

    def select(self, kept: NDArray[np.bool_] | NDArray[np.int64]) -> Mesh:
        """The triangles `kept`, given as a mask [N] or as indices."""
        return Mesh(*(getattr(self, field.name)[kept] for field in fields(self)))


def join(meshes: Sequence[Mesh]) -> Mesh:
    return Mesh(*(np.concatenate([getattr(mesh, field.name) for mesh in meshes]) for field in fields(Mesh)))


def triangles(corners: Array, uv: Array, paint: Paint, normals: Array | None = None) -> Mesh:
    """A mesh of corners [N, 3, 3] with uv [N, 3, 2], without triangles of area 0.

    normals [N, 3, 3] point outward; the triangles are turned accordingly. Without normals, each triangle is shaded flat.
    """
    facing = area_vectors(corners)
    length = np.linalg.norm(facing, axis=1)
    if normals is None:
        normals = np.repeat(facing[:, None] / np.maximum(length, 1e-12)[:, None, None], 3, 1)
    inward = np.einsum("ni,nki->n", facing, normals) < 0
    corners, uv, normals = (np.where(inward[:, None, None], part[:, [0, 2, 1]], part) for part in (corners, uv, normals))
    count = len(corners)
    whole = Mesh(
        np.asarray(corners, np.float64),
        np.asarray(normals, np.float64),
        np.asarray(uv, np.float64),
        np.full(count, paint.tile),
        np.full(count, paint.label, np.uint8),
        np.full(count, paint.instance),
        np.zeros(count, np.int64),
        np.broadcast_to(np.array(paint.tint, np.float64), (count, 3)),
        np.full(count, paint.cutout),
    )
    return whole.select(length > 1e-9)


def area_vectors(corners: Array) -> Array:
    """Outward normals [N, 3] of triangles; their length is twice the area."""
    return np.cross(corners[:, 2] - corners[:, 0], corners[:, 1] - corners[:, 0])


_SPLIT = np.array([[0, 1, 2], [0, 2, 3]])


def quads(corners: Array, uv: Array, paint: Paint, normals: Array | None = None) -> Mesh:
    """A mesh of quads: corners [N, 4, 3] in order, uv [N, 4, 2], normals [N, 4, 3]."""
    corners, uv = np.asarray(corners, np.float64), np.asarray(uv, np.float64)
    split = [None if part is None else part[:, _SPLIT].reshape(-1, 3, part.shape[-1]) for part in (corners, uv, normals)]
    assert split[0] is not None and split[1] is not None
    return triangles(split[0], split[1], paint, split[2])


def quad(corners: Sequence[Sequence[float]], paint: Paint, size: tuple[float, float] = (1, 1), start: tuple[float, float] = (0, 0)) -> Mesh:
    """One quad with corners [4, 3], counter-clockwise from the lower left; the texture begins at `start` and covers `size` tiles."""
    uv = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * size + start
    return quads(np.array(corners, np.float64)[None], uv[None], paint)


_FACES = {
    "front": ((0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0)),
    "back": ((1, 0, 1), (0, 0, 1), (0, 1, 1), (1, 1, 1)),
    "left": ((0, 0, 1), (0, 0, 0), (0, 1, 0), (0, 1, 1)),
    "right": ((1, 0, 0), (1, 0, 1), (1, 1, 1), (1, 1, 0)),
    "top": ((0, 1, 0), (1, 1, 0), (1, 1, 1), (0, 1, 1)),
}
"""The corners of a unit cube's faces, seen from outside: front is towards -z."""


def box(
    low: Sequence[float] | Array, high: Sequence[float] | Array, paint: Paint, metres: float = 1.0, faces: Sequence[str] = tuple(_FACES)
) -> Mesh:
    """A box without a bottom from corner `low` to corner `high`; a tile covers `metres`."""
    first = np.array(low, np.float64)
    corners = first + np.array([_FACES[face] for face in faces]) * (np.array(high, np.float64) - first)
    width = np.linalg.norm(corners[:, 1] - corners[:, 0], axis=1) / metres
    height = np.linalg.norm(corners[:, 3] - corners[:, 0], axis=1) / metres
    uv = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * np.stack([width, height], -1)[:, None]
    return quads(corners, uv, paint)


def loft(rings: Array, paint: Paint, size: tuple[float, float] = (1, 1), openness: float = 1.0) -> Mesh:
    """A smooth surface through R rings of K points, [R, K, 3]; a ring whose points are equal closes an end.

    The texture covers `size` tiles (around, along). openness: share of the sky's light that reaches the surface.
    """
    rings = np.asarray(rings, np.float64)
    count, around = rings.shape[:2]
    closed = np.concatenate([rings, rings[:, :1]], 1)
    u = np.broadcast_to(np.linspace(0, size[0], around + 1), (count, around + 1))
    v = np.broadcast_to(np.linspace(0, size[1], count)[:, None], (count, around + 1))
    normals = openness * _loft_normals(rings)
    parts = (closed, np.stack([u, v], -1), np.concatenate([normals, normals[:, :1]], 1))
    corners, uv, normals = (
        np.stack([part[:-1, :-1], part[:-1, 1:], part[1:, 1:], part[1:, :-1]], 2).reshape(-1, 4, part.shape[-1]) for part in parts
    )
    return quads(corners, uv, paint, normals)


def _loft_normals(rings: Array) -> Array:
    """Unit normals [R, K, 3] away from the middle; at a ring of equal points, the direction from the middle."""
    normals = np.cross(np.roll(rings, -1, 1) - np.roll(rings, 1, 1), np.gradient(rings, axis=0))
    outward = rings - rings.mean((0, 1))
    degenerate = np.linalg.norm(normals, axis=-1, keepdims=True) < 1e-9
    normals = _unit(np.where(degenerate, outward, normals))
    return np.asarray(normals * np.where((normals * outward).sum() < 0, -1, 1))


def tube(
    start: Sequence[float], end: Sequence[float], radii: tuple[float, float], paint: Paint, sides: int = 6, metres: float = 1.0
) -> Mesh:
    """A tapered tube, open at both ends."""
    first, last = np.array(start, np.float64), np.array(end, np.float64)
    axis = _unit(last - first)
    across = _unit(np.cross(axis, [0.0, 0.0, 1.0] if abs(axis[2]) < 0.9 else [1.0, 0.0, 0.0]))
    angles = np.arange(sides) * 2 * np.pi / sides
    ring = np.cos(angles)[:, None] * across + np.sin(angles)[:, None] * np.cross(axis, across)
    length = float(np.linalg.norm(last - first))
    return loft(np.stack([first + radii[0] * ring, last + radii[1] * ring]), paint, (1, max(length / metres, 0.1)))


def disc(centre: Sequence[float], normal: Sequence[float], radius: float, paint: Paint, sides: int = 12) -> Mesh:
    """A flat disc, covered by one tile."""
    middle, axis = np.array(centre, np.float64), _unit(np.array(normal, np.float64))
    up = np.array([0.0, 1.0, 0.0]) if abs(axis[1]) < 0.9 else np.array([0.0, 0.0, 1.0])
    right = _unit(np.cross(axis, up))
    angles = np.arange(sides) * 2 * np.pi / sides
    flat = np.stack([np.cos(angles), np.sin(angles)], -1)
    rim = middle + radius * (flat[:, :1] * right + flat[:, 1:] * np.cross(right, axis))
    corners = np.stack([np.broadcast_to(middle, rim.shape), rim, np.roll(rim, -1, 0)], 1)
    uv = 0.5 + 0.49 * np.stack([np.zeros_like(flat), flat, np.roll(flat, -1, 0)], 1)
    return triangles(corners, uv, paint, np.broadcast_to(axis, corners.shape))


def rigid_motion(yaw: float, position: Sequence[float] = (0, 0, 0)) -> Array:
    """The motion [3, 4] that rotates about y by `yaw` radians (z towards x), then translates by `position`."""
    cosine, sine = np.cos(yaw), np.sin(yaw)
    return np.array([[cosine, 0, sine, position[0]], [0, 1, 0, position[1]], [-sine, 0, cosine, position[2]]])


def affine_functions(corners: Array, values: Array) -> Array:
    """Affine functions [N, C, 4] of the position (slopes and a constant) that have the values [N, 3, C] at the corners of triangles."""
    edges = corners[:, 1:] - corners[:, :1]
    squares = edges @ edges.swapaxes(1, 2)
    slopes = (values[:, 1:] - values[:, :1]).swapaxes(1, 2) @ np.linalg.inv(squares) @ edges
    return np.concatenate([slopes, values[:, 0, :, None] - slopes @ corners[:, 0, :, None]], -1)


def _unit(vectors: Array) -> Array:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12))
