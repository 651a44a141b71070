"""Trees, bushes and hedges. A crown consists of tufts, squares in many directions with a tile of leaves."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .atlas import Atlas
from .labels import TREE
from .meshes import Mesh, Paint, box, join, quads, tube

Array = NDArray[np.floating]

_GREENS = ((0.32, 0.42, 0.12), (0.25, 0.38, 0.12), (0.4, 0.46, 0.14), (0.22, 0.34, 0.14), (0.46, 0.42, 0.12))
_AUTUMN = ((0.62, 0.36, 0.1), (0.55, 0.22, 0.1), (0.66, 0.5, 0.14))


def leaf_colour(rng: np.random.Generator, autumn: bool) -> tuple[float, float, float]:
    colours = _AUTUMN if autumn and rng.random() < 0.6 else _GREENS
    red, green, blue = np.array(colours[int(rng.integers(len(colours)))]) * 1.25 * rng.uniform(0.85, 1.15, 3)
    return float(red), float(green), float(blue)


def draw_tree(rng: np.random.Generator, atlas: Atlas, height: float, autumn: bool, tufts: int = 44) -> Mesh:
    """A tree at the origin; its height is in metres. tufts: the number of tufts in its crown."""
    bark = Paint(atlas["bark"], TREE, (1.0, 1.0, 1.0))
    tint = leaf_colour(rng, autumn)
    if rng.random() < 0.12:
        return join([tube((0, -0.2, 0), (0, 0.35 * height, 0), (0.16, 0.12), bark), _conifer(rng, atlas, height, tint)])
    bare = rng.uniform(0.28, 0.36) * height
    trunk_radius = 0.018 * height + 0.05
    parts = [tube((0, -0.2, 0), (0, bare + 0.2 * height, 0), (trunk_radius, 0.6 * trunk_radius), bark, 7, 2.0)]
    middle = np.array([0, bare + (height - bare) / 2, 0])
    radii = np.array([rng.uniform(0.5, 0.72), 1.0, 0.0]) * (height - bare) / 2
    radii[2] = radii[0]
    for _ in range(4):
        angle, out = rng.uniform(0, 6.28), 0.55 * radii[0]
        end = (np.cos(angle) * out, bare + 0.3 * (height - bare), np.sin(angle) * out)
        parts.append(tube((0, bare * 0.9, 0), end, (0.5 * trunk_radius, 0.25 * trunk_radius), bark, 5, 2.0))
    parts.append(_crown(rng, atlas["leaves"], middle, radii, tint, tufts))
    return join(parts)


def draw_bush(rng: np.random.Generator, atlas: Atlas, size: float, autumn: bool) -> Mesh:
    middle = np.array([0, 0.45 * size, 0])
    return _crown(rng, atlas["leaves"], middle, np.array([0.6, 0.5, 0.6]) * size, leaf_colour(rng, autumn), 12)


def draw_hedge(rng: np.random.Generator, atlas: Atlas, length: float, height: float, autumn: bool) -> Mesh:
    """A hedge along x from 0 to `length`; its front is at z = 0."""
    tint = leaf_colour(rng, autumn)
    body = box((0, 0, 0.1), (length, height, 0.7), Paint(atlas["hedge"], TREE, tint), 1.6)
    count = max(2, int(length / 0.7))
    x = (np.arange(count) + rng.uniform(0.2, 0.8, count)) * length / count
    centres = np.stack([x, height * rng.uniform(0.45, 0.95, count), rng.uniform(0.05, 0.25, count)], -1)
    outward = np.stack([rng.normal(0, 0.3, count), rng.uniform(0, 0.8, count), -np.ones(count)], -1)
    return join([body, _tufts(rng, atlas["leaves"], centres, outward, np.full(count, 0.5), outward, tint)])


def _crown(rng: np.random.Generator, tile: int, middle: Array, radii: Array, tint: tuple[float, float, float], count: int) -> Mesh:
    """Tufts along a spiral on an ellipsoid and inside it; those inside and below are darker."""
    step = np.arange(count) + 0.5
    up = 1 - 2 * step / count
    angle = step * 2.399963 + rng.uniform(0, 6.28)
    around = np.sqrt(1 - up**2)
    direction = np.stack([np.cos(angle) * around, up, np.sin(angle) * around], -1)
    reach = rng.uniform(0.5, 0.92, count)
    lumps = 1 + 0.16 * np.sin(3 * angle + rng.uniform(0, 6)) * around
    centres = middle + direction * radii * (reach * lumps)[:, None]
    openness = 0.42 + 0.3 * (reach - 0.5) / 0.42 + 0.24 * up
    size = float(radii.mean()) * rng.uniform(0.42, 0.6, count)
    facing = direction + rng.normal(0, 0.35, direction.shape)
    return _tufts(rng, tile, centres, facing, size, direction * np.clip(openness, 0.15, 1)[:, None], tint)


def _tufts(
    rng: np.random.Generator, tile: int, centres: Array, facing: Array, size: Array, normals: Array, tint: tuple[float, float, float]
) -> Mesh:
    """Squares of half side `size` [N] around `centres`, perpendicular to `facing`, shaded by `normals` as in `Mesh`; [N, 3] each."""
    ahead = facing / np.linalg.norm(facing, axis=1, keepdims=True)
    right = np.cross(ahead, rng.normal(size=ahead.shape))
    right /= np.maximum(np.linalg.norm(right, axis=1, keepdims=True), 1e-9)
    up = np.cross(right, ahead)
    signs = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])
    offsets = (signs[:, :1, None] * right[:, None].transpose(1, 0, 2) + signs[:, 1:, None] * up[:, None].transpose(1, 0, 2)) * size[:, None]
    corners = (centres + offsets).transpose(1, 0, 2)
    bent = normals[:, None] + 0.35 * np.linalg.norm(normals, axis=-1)[:, None, None] * offsets.transpose(1, 0, 2) / size[:, None, None]
    bent *= np.linalg.norm(normals, axis=-1)[:, None, None] / np.linalg.norm(bent, axis=-1, keepdims=True)
    uv = np.broadcast_to((signs + 1) / 2, (len(centres), 4, 2))
    return quads(corners, uv, Paint(tile, TREE, tint, cutout=True), bent)


def _conifer(rng: np.random.Generator, atlas: Atlas, height: float, tint: tuple[float, float, float]) -> Mesh:
    count = 40
    level = np.linspace(0.14, 0.97, count) * height
    angle = np.arange(count) * 2.399963
    reach = (height - level) * 0.2 + 0.12
    direction = np.stack([np.cos(angle), np.full(count, 0.35), np.sin(angle)], -1)
    centres = np.stack([np.cos(angle) * reach * 0.7, level, np.sin(angle) * reach * 0.7], -1)
    normals = direction / np.linalg.norm(direction, axis=1, keepdims=True) * 0.75
    dark = (0.5 * tint[0], 0.62 * tint[1], 0.6 * tint[2])
    return _tufts(rng, atlas["needles"], centres, direction + rng.normal(0, 0.2, direction.shape), reach * 0.9 + 0.15, normals, dark)
