"""Cars: hulls lofted from their outlines, windows with pillars, wheels that roll."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .atlas import Atlas
from .labels import CAR
from .meshes import Mesh, Paint, box, disc, join, loft, quads, rigid_motion, tube

Array = NDArray[np.floating]

_COLOURS = (
    (0.02, 0.02, 0.024), (0.3, 0.31, 0.32), (0.55, 0.56, 0.57), (0.8, 0.8, 0.79), (0.1, 0.11, 0.12), (0.03, 0.06, 0.2), (0.35, 0.02, 0.02),
    (0.08, 0.16, 0.3), (0.02, 0.1, 0.06), (0.5, 0.42, 0.3), (0.8, 0.8, 0.79), (0.2, 0.2, 0.21), (0.55, 0.06, 0.03), (0.7, 0.5, 0.06),
)  # fmt: skip
_COLOUR_WEIGHTS = np.array([3, 3, 3, 3, 2, 2, 2, 1.5, 0.7, 0.8, 2, 2, 0.8, 0.4])


@dataclass(frozen=True)
class Outline:
    """The shape of a kind of car; lengths in metres.

    weight: how often it is drawn relative to the others. sill: height of the hull's lower edge. roof: height of the roof. wheel: radius.
    """

    name: str
    weight: float
    length: float
    width: float
    sill: float
    stations: tuple[tuple[float, float, float], ...]
    """From rear to front: (z as a share of the length, height of the hull's upper edge, half width as a share of that of the car)."""
    glass: tuple[float, float, float, float]
    """z of the rear window's lower edge, of the roof's rear and front end, and of the windscreen's lower edge, as shares of the length."""
    roof: float
    wheel: float


_OUTLINES = (
    Outline("hatchback", 4, 3.9, 1.72, 0.2, ((0, 0.62, 0.86), (0.03, 0.88, 0.94), (0.1, 0.93, 0.99), (0.35, 0.94, 1), (0.62, 0.92, 1),
            (0.8, 0.83, 0.98), (0.93, 0.74, 0.92), (1, 0.55, 0.78)), (0.03, 0.11, 0.53, 0.72), 1.47, 0.31),
    Outline("saloon", 4, 4.6, 1.78, 0.19, ((0, 0.66, 0.82), (0.03, 0.9, 0.92), (0.14, 0.95, 0.98), (0.35, 0.94, 1), (0.62, 0.92, 1),
            (0.78, 0.85, 0.98), (0.94, 0.74, 0.9), (1, 0.56, 0.76)), (0.16, 0.3, 0.55, 0.71), 1.43, 0.32),
    Outline("estate", 3, 4.6, 1.78, 0.2, ((0, 0.62, 0.86), (0.02, 0.9, 0.94), (0.1, 0.95, 0.99), (0.35, 0.95, 1), (0.62, 0.93, 1),
            (0.78, 0.85, 0.98), (0.94, 0.74, 0.9), (1, 0.56, 0.78)), (0.02, 0.08, 0.55, 0.71), 1.48, 0.32),
    Outline("off-road", 2, 4.5, 1.88, 0.3, ((0, 0.7, 0.9), (0.02, 1.02, 0.96), (0.1, 1.08, 1), (0.35, 1.08, 1), (0.64, 1.06, 1),
            (0.82, 1.0, 0.98), (0.95, 0.92, 0.94), (1, 0.66, 0.84)), (0.02, 0.07, 0.56, 0.69), 1.75, 0.36),
    Outline("van", 1.5, 5.2, 1.98, 0.24, ((0, 0.9, 0.95), (0.01, 1.15, 0.99), (0.1, 1.2, 1), (0.4, 1.2, 1), (0.72, 1.18, 1),
            (0.86, 1.02, 0.99), (0.96, 0.92, 0.95), (1, 0.62, 0.86)), (0.005, 0.015, 0.7, 0.85), 2.2, 0.34),
)  # fmt: skip


@dataclass(frozen=True)
class Car:
    """Body and four wheels. The origin is on the ground below the middle of the car, which faces +z.

    axles [4, 3]: centres of the wheels; the mesh of a wheel has its centre at the origin. half: half width and half length in metres.
    """

    body: Mesh
    wheels: list[Mesh]
    axles: Array
    radius: float
    half: tuple[float, float]

    def at_rest(self) -> Mesh:
        """One mesh of body and wheels, for a parked car."""
        wheels = [wheel.transform(rigid_motion(0, axle)) for wheel, axle in zip(self.wheels, self.axles, strict=True)]
        return join([self.body, *wheels])


def draw_car(rng: np.random.Generator, atlas: Atlas) -> Car:
    weights = np.array([outline.weight for outline in _OUTLINES])
    outline = _OUTLINES[int(rng.choice(len(_OUTLINES), p=weights / weights.sum()))]
    colour = _COLOURS[int(rng.choice(len(_COLOURS), p=_COLOUR_WEIGHTS / _COLOUR_WEIGHTS.sum()))]
    if outline.name == "van" and rng.random() < 0.6:
        colour = (0.78, 0.78, 0.76)
    paint = Paint(atlas["glossy"], CAR).with_tint(*(np.array(colour) * rng.uniform(0.9, 1.1)).tolist())
    scale = rng.uniform(0.96, 1.05)
    body = join([_hull(outline, atlas, paint), *_greenhouse(outline, atlas, paint), *_arches_and_mirrors(outline, atlas)])
    half = (outline.width / 2 * scale, outline.length / 2 * scale)
    body = body.transform(np.diag([scale, 1, scale, 1.0])[:3])
    x, front, rear = outline.width / 2 - 0.1, 0.31 * outline.length, -0.29 * outline.length
    axles = np.array([(side * x, outline.wheel, z) for z in (rear, front) for side in (-1, 1)]) * [scale, 1, scale]
    wheels = [_wheel(atlas, outline.wheel, side) for _ in range(2) for side in (-1, 1)]
    return Car(body, wheels, axles, outline.wheel, half)


def _hull(outline: Outline, atlas: Atlas, paint: Paint) -> Mesh:
    """A loft through rings of ten points, closed at rear and front."""
    rings = []
    for share, top, half_width in outline.stations:
        half, z = outline.width / 2 * half_width, (share - 0.5) * outline.length
        low = outline.sill if 0.02 < share < 0.98 else outline.sill + 0.08
        mid = low + 0.55 * (top - low)
        right = [(0.86 * half, low), (half, low + 0.18), (half, mid), (0.93 * half, top - 0.03), (0.8 * half, top)]
        rings.append([(x, y, z) for x, y in right] + [(-x, y, z) for x, y in right[::-1]])
    middle = np.array(rings)
    rear, front = (np.broadcast_to(ring.mean(0), (1, *ring.shape)) for ring in (middle[0], middle[-1]))
    shell = loft(np.concatenate([rear, middle, front]), paint)
    return _assign_tiles(shell, outline, atlas, paint)


def _assign_tiles(shell: Mesh, outline: Outline, atlas: Atlas, paint: Paint) -> Mesh:
    """Give the sides, the front and the rear of the hull their tiles, by the place and direction of each triangle."""
    middle = shell.corners.mean(1)
    facing = shell.normals.mean(1)
    top = outline.stations[3][1]
    share = (shell.corners + [outline.width / 2, -outline.sill, outline.length / 2]) / [outline.width, top - outline.sill, outline.length]
    ends = np.abs(middle[:, 2]) > 0.465 * outline.length
    side = (np.abs(facing[:, 0]) > 0.55) & ~ends & (middle[:, 1] < top)
    tile = np.where(side, atlas["car side"], np.where(ends, np.where(middle[:, 2] > 0, atlas["car front"], atlas["car rear"]), paint.tile))
    sideways = np.stack([share[..., 2], np.clip(share[..., 1], 0, 0.995)], -1)
    across = np.stack([share[..., 0], np.clip(share[..., 1], 0, 0.995)], -1)
    uv = np.where(side[:, None, None], sideways, np.where(ends[:, None, None], across, share[..., [0, 2]]))
    return replace(shell, uv=uv, tile=tile)


def _greenhouse(outline: Outline, atlas: Atlas, paint: Paint) -> list[Mesh]:
    """The upper part of a car: windows and roof."""
    foot = np.interp([outline.glass[0], outline.glass[3]], *np.array(outline.stations).T[:2]) - 0.03
    rear, roof_rear, roof_front, front = (np.array(outline.glass) - 0.5) * outline.length
    half_base, half_top = 0.86 * outline.width / 2, (0.68 if outline.roof < 2 else 0.8) * outline.width / 2
    top, lower = outline.roof, float(np.mean(foot))
    glass, screen = Paint(atlas["car glass"], CAR, paint.tint), Paint(atlas["car screen"], CAR, paint.tint)
    corners = {
        "right": [(half_base, lower, rear), (half_base, lower, front), (half_top, top, roof_front), (half_top, top, roof_rear)],
        "left": [(-half_base, lower, front), (-half_base, lower, rear), (-half_top, top, roof_rear), (-half_top, top, roof_front)],
        "back": [(-half_base, lower, rear), (half_base, lower, rear), (half_top, top, roof_rear), (-half_top, top, roof_rear)],
        "screen": [(half_base, lower, front), (-half_base, lower, front), (-half_top, top, roof_front), (half_top, top, roof_front)],
    }
    uv = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * 0.99 + 0.005
    parts = [_pane(corners[side], glass if side in ("right", "left") else screen) for side in corners]
    if outline.roof > 2:
        parts = [_pane(corners[side], paint if side in ("right", "left") else screen) for side in corners]
        parts += _door_windows(corners, glass)
    inner = 0.86 * half_top
    rise = top + 0.06
    length = np.linspace(roof_rear, roof_front, 4)
    arch = np.array([0, 1, 1, 0]) * 0.5 + 0.5
    rings = np.array([[(half_top, top, z), (inner, top + (rise - top) * up, z), (-inner, top + (rise - top) * up, z), (-half_top, top, z)]
                      for z, up in zip(length, arch, strict=True)])  # fmt: skip
    strips = np.stack([rings[:-1, :-1], rings[:-1, 1:], rings[1:, 1:], rings[1:, :-1]], 2).reshape(-1, 4, 3)
    normals = np.array([(0.5, 0.85, 0.0), (0.12, 0.99, 0.0), (-0.12, 0.99, 0.0), (-0.5, 0.85, 0.0)])
    bent = np.broadcast_to(np.stack([normals[:-1], normals[1:], normals[1:], normals[:-1]], 1), (3, 3, 4, 3)).reshape(-1, 4, 3)
    parts.append(quads(strips, np.broadcast_to(uv, (len(strips), 4, 2)), paint, bent))
    return parts


def _pane(corners: list[tuple[float, float, float]], paint: Paint) -> Mesh:
    """A trapezium, cut into strips so that the tile is not distorted."""
    edge, count = np.array(corners), 8
    share = np.linspace(0, 1, count + 1)[:, None]
    low, high = edge[0] + (edge[1] - edge[0]) * share, edge[3] + (edge[2] - edge[3]) * share
    u = np.linspace(0.005, 0.995, count + 1)
    ends = [np.stack([u, np.full(count + 1, v)], -1) for v in (0.005, 0.995)]
    strips, uv = (np.stack([one[:-1], one[1:], other[1:], other[:-1]], 1) for one, other in ((low, high), ends))
    return quads(strips, uv, paint)


def _door_windows(corners: dict[str, list[tuple[float, float, float]]], glass: Paint) -> list[Mesh]:
    """The windows of a van's doors, slightly outside its closed sides."""
    windows = []
    for side, out in (("right", 0.012), ("left", -0.012)):
        rear, front = (1, 0) if side == "left" else (0, 1)
        low, high = np.array(corners[side][:2]), np.array(corners[side][3:1:-1])
        behind, ahead = (
            (low[front] * foot + low[rear] * (1 - foot), high[front] * top + high[rear] * (1 - top))
            for foot, top in ((0.7, 0.82), (0.97, 0.99))
        )
        edges = [base + (tip - base) * share for (base, tip), share in ((behind, 0.08), (ahead, 0.08), (ahead, 0.55), (behind, 0.55))]
        ring = np.array(edges if side == "right" else [edges[1], edges[0], edges[3], edges[2]]) + [out, 0, 0]
        windows.append(quads(ring[None], np.array([[[0.06, 0.1], [0.46, 0.1], [0.46, 0.9], [0.06, 0.9]]]), glass))
    return windows


def _arches_and_mirrors(outline: Outline, atlas: Atlas) -> list[Mesh]:
    """Dark arches behind the wheels, and mirrors."""
    dark = Paint(atlas["plain"], CAR, (0.012, 0.012, 0.013))
    half, parts = outline.width / 2, []
    for z in (0.31 * outline.length, -0.29 * outline.length):
        for side in (-1, 1):
            parts.append(disc((side * (half + 0.005), outline.wheel + 0.02, z), (side, 0, 0), outline.wheel * 1.2, dark, 14))
    z = (outline.glass[3] - 0.56) * outline.length
    top = outline.stations[4][1]
    for side in (-1, 1):
        near, far = sorted((side * 0.84 * half, side * (half + 0.13)))
        parts.append(box((near, top - 0.02, z), (far, top + 0.1, z + 0.08), dark))
    return parts


def _wheel(atlas: Atlas, radius: float, side: int) -> Mesh:
    """A wheel around its centre. side: -1 or 1, the direction of its outer face along x."""
    rubber = Paint(atlas["plain"], CAR, (0.012, 0.012, 0.013))
    face = Paint(atlas["wheel"], CAR)
    tread = tube((side * -0.12, 0, 0), (side * 0.12, 0, 0), (radius, radius), rubber, 14)
    return join([tread, disc((side * 0.12, 0, 0), (side, 0, 0), radius, face, 14)])
