"""Surfaces of bodies, clothes and hair: smoothly blended distance fields, which are meshed once per subject and bound to the bones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from body import BONE, BONES, PARENTS, SIDES, Array, Skeleton
from skimage.measure import marching_cubes

SMOOTH = 0.026
"""Width of the blend between two shapes, in metres."""


@dataclass(frozen=True)
class Loft:
    """An elliptical tube from `start` to `end`, with half-axes `widths` and `depths` at evenly spaced stations, in metres.

    front: direction of the depths. flat_ends: which of the ends (start, end) are flat instead of round.
    """

    start: Array
    end: Array
    widths: Sequence[float]
    depths: Sequence[float] = ()
    front: tuple[float, float, float] = (0.0, 0.0, 1.0)
    flat_ends: tuple[bool, bool] = (False, False)

    def distance(self, points: Array, growth: float = 0.0) -> Array:
        """The approximate signed distance [...] of points [..., 3], negative inside.

        growth: metres by which the shape is enlarged, except at flat ends.
        """
        along, across, ahead, beyond, length = self._local(points)
        share = np.clip(along / length, 0, 1) * (len(self.widths) - 1)
        width = np.interp(share, np.arange(len(self.widths)), self.widths)
        depth = np.interp(share, np.arange(len(self.widths)), self.depths or self.widths)
        least = np.minimum(width, depth)
        distance = (np.sqrt((across / width) ** 2 + (ahead / depth) ** 2 + (beyond / least) ** 2) - 1) * least - growth
        if self.flat_ends[0]:
            distance = np.maximum(distance, -along)
        return np.maximum(distance, along - length) if self.flat_ends[1] else distance

    def surface(self, points: Array) -> Array:
        """Texture coordinates [..., 2] in metres: around the tube (0 at the front), and along it."""
        along, across, ahead, _, length = self._local(points)
        return np.stack([np.arctan2(across, ahead) * float(np.mean(self.widths)), along], -1)

    def _local(self, points: Array) -> tuple[Array, Array, Array, Array, float]:
        """Coordinates of points along, across and in front of the axis, their distance beyond its ends, and the length of the axis."""
        axis = np.asarray(self.end) - self.start
        length = float(np.linalg.norm(axis))
        axis = axis / length
        sideways = np.cross(axis, self.front)
        sideways /= np.linalg.norm(sideways)
        relative = points - self.start
        along = relative @ axis
        return along, relative @ sideways, relative @ np.cross(sideways, axis), along - np.clip(along, 0, length), length


@dataclass(frozen=True)
class Ball:
    """An ellipsoid with half-axes `radii` along x, y and z. The methods are those of `Loft`."""

    centre: Array
    radii: tuple[float, float, float]

    def distance(self, points: Array, growth: float = 0.0) -> Array:
        return (np.linalg.norm((points - self.centre) / self.radii, axis=-1) - 1) * min(self.radii) - growth

    def surface(self, points: Array) -> Array:
        relative = points - self.centre
        return np.stack([np.arctan2(relative[..., 0], relative[..., 2]) * self.radii[0], -relative[..., 1]], -1)


Shape = Loft | Ball


@dataclass(frozen=True)
class Solid:
    """The smoothly blended union of shapes, minus holes. Lengths are in metres."""

    shapes: Sequence[Shape]
    holes: Sequence[Shape] = ()
    min_height: float = -np.inf
    """Height at which the solid is cut off below."""
    max_height: float = np.inf
    """Height at which the solid is cut off above."""
    smooth: float = SMOOTH
    """Width of the blend between shapes."""
    folds: float = 0.0
    """Depth of wrinkles."""
    fold_length: float = 0.16
    """Approximate wavelength of wrinkles."""
    seed: int = 0
    """Seed of the wrinkles."""

    def distance(self, points: Array, growth: float = 0.0) -> Array:
        """As `Loft.distance`. growth does not move holes, cut-off heights or flat ends."""
        distance = self.shapes[0].distance(points, growth)
        for shape in self.shapes[1:]:
            distance = _smooth_minimum(distance, shape.distance(points, growth), self.smooth)
        if self.folds:
            distance = distance + self.folds * _wrinkles(points, self.fold_length, self.seed)
        for hole in self.holes:
            distance = -_smooth_minimum(-distance, hole.distance(points), 0.3 * self.smooth)
        return np.maximum(np.maximum(distance, self.min_height - points[..., 1]), points[..., 1] - self.max_height)

    def bounds(self) -> tuple[Array, Array]:
        """Low and high corner of a box that contains the solid."""
        low, high = np.full(3, np.inf), np.full(3, -np.inf)
        for shape in self.shapes:
            if isinstance(shape, Ball):
                ends, reach = shape.centre[None], np.asarray(shape.radii)
            else:
                ends, reach = np.stack([shape.start, shape.end]), np.full(3, max(*shape.widths, *(shape.depths or (0,))))
            low, high = np.minimum(low, ends.min(0) - reach), np.maximum(high, ends.max(0) + reach)
        low[1], high[1] = max(low[1], self.min_height), min(high[1], self.max_height)
        return low - SMOOTH - self.folds, high + SMOOTH + self.folds


@dataclass(frozen=True)
class Mesh:
    """vertices, normals [V, 3] at rest; faces [F, 3]; texture [F, 3, 2] in metres at the faces' corners; weights [V, bones]."""

    vertices: Array
    normals: Array
    faces: np.ndarray
    texture: Array
    weights: Array

    def without(self, dropped: np.ndarray) -> Mesh:
        """The mesh without the faces marked by `dropped` [F], and without unused vertices."""
        faces = self.faces[~dropped]
        kept, inverse = np.unique(faces, return_inverse=True)
        return Mesh(self.vertices[kept], self.normals[kept], inverse.reshape(-1, 3), self.texture[~dropped], self.weights[kept])


def build_mesh(solid: Solid, cell: float, skeleton: Skeleton) -> Mesh:
    """The surface of a solid as triangles of about `cell` metres (marching cubes)."""
    low, high = solid.bounds()
    axes = [np.arange(low[i] - cell, high[i] + 2 * cell, cell) for i in range(3)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    vertices, faces, _, _ = marching_cubes(solid.distance(grid), 0.0, spacing=(cell,) * 3)
    vertices = vertices.astype(np.float64) + [axis[0] for axis in axes]
    corners = vertices[faces]
    if np.einsum("fi,fi->f", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])).sum() < 0:
        faces = faces[:, ::-1]
        corners = vertices[faces]
    area = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.zeros_like(vertices)
    for corner in range(3):
        np.add.at(normals, faces[:, corner], area)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    return Mesh(vertices, normals, faces, _texture(solid, corners), bind(vertices, skeleton))


def _texture(solid: Solid, corners: Array) -> Array:
    """Texture coordinates [F, 3, 2] of the nearest tube. The angle does not wrap around within a face."""
    centres = corners.mean(1)
    tubes = [shape for shape in solid.shapes if isinstance(shape, Loft)] or solid.shapes
    nearest = np.argmin([shape.distance(centres) for shape in tubes], 0)
    texture = np.zeros((*corners.shape[:2], 2))
    for index, shape in enumerate(tubes):
        selected = nearest == index
        coordinates = shape.surface(corners[selected])
        around = 2 * np.pi * (shape.radii[0] if isinstance(shape, Ball) else float(np.mean(shape.widths)))
        coordinates[..., 0] += around * np.round((coordinates[:, :1, 0] - coordinates[..., 0]) / around)
        texture[selected] = coordinates
    return texture


def bind(points: Array, skeleton: Skeleton) -> Array:
    """Skinning weights [V, bones] by the distance from the bones. Only the nearest bone and those at most two joints away from it count."""
    closeness = np.zeros((len(points), len(BONES)))
    for bone, start, end, radius in _bone_segments(skeleton):
        away = np.linalg.norm(points - _nearest(points, start, end), axis=1) / radius
        closeness[:, bone] = np.maximum(closeness[:, bone], (away + 0.15) ** -7)
    closeness *= _CLOSE[closeness.argmax(1)]
    return closeness / closeness.sum(1, keepdims=True)


def bind_skirt(points: Array, skeleton: Skeleton) -> Array:
    """Skinning weights of a skirt: those of `bind` at the waist; further down the pelvis, and increasingly the thigh of the same side."""
    hip, knee = skeleton.at["left thigh"], skeleton.at["left shin"]
    lower = np.clip((hip[1] + 0.06 - points[:, 1]) / (hip[1] + 0.06 - knee[1]), 0, 1) ** 0.8
    left = 1 / (1 + np.exp(-points[:, 0] / (0.45 * hip[0])))
    weights = bind(points, skeleton) * (1 - np.clip(4 * lower, 0, 1))[:, None]
    rest = np.clip(4 * lower, 0, 1)
    weights[:, 0] += rest * (1 - 0.85 * lower)
    weights[:, BONE["left thigh"]] += rest * 0.85 * lower * left
    weights[:, BONE["right thigh"]] += rest * 0.85 * lower * (1 - left)
    return weights


def join(meshes: Sequence[Mesh]) -> Mesh:
    """One mesh of all meshes."""
    starts = np.cumsum([0, *(len(part.vertices) for part in meshes[:-1])])
    faces = np.concatenate([part.faces + start for part, start in zip(meshes, starts, strict=True)])
    fields = {name: np.concatenate([getattr(part, name) for part in meshes]) for name in ("vertices", "normals", "texture", "weights")}
    return replace(meshes[0], faces=faces, **fields)


def _bone_segments(skeleton: Skeleton) -> list[tuple[int, Array, Array, float]]:
    """(bone, start, end, radius) of line segments. The surface near a segment moves with its bone."""
    at, h = skeleton.at, skeleton.proportions.height
    wide = np.array([0.045 * h, 0, 0])
    crown = skeleton.skull + np.array([0, 0.1 * skeleton.head_height, 0])
    segments = [
        (0, at["pelvis"] - wide, at["pelvis"] + wide, 0.065 * h),
        (1, at["abdomen"] + [0, 0.02 * h, 0] - 0.6 * wide, at["abdomen"] + [0, 0.02 * h, 0] + 0.6 * wide, 0.06 * h),
        (2, at["chest"] + [0, 0.02 * h, 0] - wide, at["chest"] + [0, 0.02 * h, 0] + wide, 0.07 * h),
        (2, at["chest"] + [0, 0.09 * h, 0] - 0.7 * wide, at["chest"] + [0, 0.09 * h, 0] + 0.7 * wide, 0.06 * h),
        (3, at["neck"], at["head"], 0.03 * h),
        (4, skeleton.skull - [0, 0.3 * skeleton.head_height, 0], crown, 0.05 * h),
    ]
    for side in SIDES:
        chain = [f"{side} {part}" for part in ("upper arm", "forearm", "hand", "fingertips")]
        segments.append((BONE[f"{side} clavicle"], 0.5 * (at[f"{side} clavicle"] + at[chain[0]]), at[chain[0]], 0.03 * h))
        segments += [(BONE[a], at[a], at[b], radius * h) for a, b, radius in zip(chain[:3], chain[1:], (0.033, 0.026, 0.02), strict=True)]
        chain = [f"{side} {part}" for part in ("thigh", "shin", "foot", "big toe")]
        segments += [(BONE[a], at[a], at[b], radius * h) for a, b, radius in zip(chain[:3], chain[1:], (0.05, 0.033, 0.025), strict=True)]
    return segments


def _nearest(points: Array, start: Array, end: Array) -> Array:
    """The points of a line segment that are nearest to `points`."""
    axis = end - start
    share = np.clip((points - start) @ axis / (axis @ axis), 0, 1)
    return start + share[:, None] * axis


def _smooth_minimum(one: Array, other: Array, smooth: float) -> Array:
    """A smooth minimum (polynomial, Inigo Quilez)."""
    overlap = np.maximum(smooth - np.abs(one - other), 0) / smooth
    return np.minimum(one, other) - 0.25 * smooth * overlap**2


def _wrinkles(points: Array, length: float, seed: int) -> Array:
    """Smooth noise [...] with an amplitude of about 1 at points [..., 3]: a sum of waves, most of them horizontal."""
    rng = np.random.default_rng(seed)
    total = np.zeros(points.shape[:-1])
    for _ in range(6):
        wave = rng.normal(size=3) * (1.0, 0.6, 1.0)
        wave *= 2 * np.pi / (length * rng.uniform(0.6, 1.6) * np.linalg.norm(wave))
        total += np.sin(points @ wave + rng.uniform(0, 2 * np.pi))
    return total / 4


def _close_bones() -> np.ndarray:
    """Which bones are at most two joints apart, bool [bones, bones]."""
    near = np.eye(len(BONES), dtype=bool)
    for bone, parent in enumerate(PARENTS[1:], 1):
        near[bone, parent] = near[parent, bone] = True
    return near @ near


_CLOSE = _close_bones()
