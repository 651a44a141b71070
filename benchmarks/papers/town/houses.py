"""Houses: fronts with windows above a ground floor, roofs, chimneys, cornices, bays and awnings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .atlas import Atlas
from .facade_tiles import SHOPS
from .labels import BUILDING
from .meshes import Mesh, Paint, box, join, quad, quads
from .tiles import FACADES, GROUND_FLOORS

Array = NDArray[np.floating]

FLOOR, CELL = 3.0, 2.9
"""Height of a floor, and width of a window with the wall beside it, in metres."""
_WALLS = (
    (0.62, 0.52, 0.38), (0.7, 0.66, 0.56), (0.55, 0.5, 0.45), (0.66, 0.45, 0.33), (0.75, 0.7, 0.6), (0.48, 0.5, 0.52), (0.72, 0.6, 0.4),
    (0.6, 0.62, 0.58), (0.78, 0.76, 0.72), (0.7, 0.5, 0.42), (0.52, 0.56, 0.62),
)  # fmt: skip
_BRICKS = ((0.5, 0.24, 0.16), (0.56, 0.33, 0.22), (0.62, 0.5, 0.36), (0.42, 0.25, 0.2), (0.45, 0.4, 0.36))
_ROOFS = ((0.42, 0.2, 0.14), (0.24, 0.24, 0.26), (0.34, 0.2, 0.16), (0.3, 0.28, 0.27))


def _linear_colour(colour: tuple[float, float, float], rng: np.random.Generator) -> tuple[float, float, float]:
    """A display colour in [0, 1] as linear RGB, with slightly random brightness."""
    red, green, blue = (np.array(colour) * rng.uniform(0.93, 1.07)) ** 1.7 * 1.25
    return float(red), float(green), float(blue)


def draw_house(rng: np.random.Generator, atlas: Atlas, width: float, depth: float, floors: int, *, shops: bool, gabled: bool) -> Mesh:
    """A house from x = 0 to `width` and z = 0 to `depth`, in metres; its front is at z = 0 and faces -z.

    floors: their number, with the ground floor. shops: whether the ground floor has any. gabled: whether the roof has gables or is flat.
    """
    number = int(rng.integers(FACADES))
    brick = number % 2 == 1
    tint = _linear_colour((_BRICKS if brick else _WALLS)[int(rng.integers(len(_BRICKS if brick else _WALLS)))], rng)
    wall = Paint(atlas["bricks" if brick else "plaster"], BUILDING, tint)
    front = Paint(atlas[f"facade {number}"], BUILDING, tint)
    ground = Paint(atlas[f"ground floor {int(rng.integers(GROUND_FLOORS))}"], BUILDING, tint)
    row = int(rng.integers(2)) if shops else int(rng.integers(2, SHOPS))
    low = 3.5 if shops else 3.0
    wall_top = low + FLOOR * (floors - 1)
    cells = max(1, round(width / CELL))
    start = (int(rng.integers(4)) / 4, int(rng.integers(4)) / 4)
    parts = [
        quad([(0, 0, 0), (width, 0, 0), (width, low, 0), (0, low, 0)], ground, (cells / 4, 0.245), (start[0], row / SHOPS)),
        quad([(0, low, 0), (width, low, 0), (width, wall_top, 0), (0, wall_top, 0)], front, (cells / 4, (floors - 1) / 4), start),
        *(_side_wall(depth, wall_top, floors, front if rng.random() < 0.55 else wall, x) for x in (0.0, width)),
        quad([(width, 0, depth), (0, 0, depth), (0, wall_top, depth), (width, wall_top, depth)], front, (cells / 4, floors / 4), start),
    ]
    parts += _roof(rng, atlas, width, depth, wall_top, wall, gabled)
    light = Paint(atlas["plain"], BUILDING, _linear_colour((0.82, 0.8, 0.75), rng))
    if rng.random() < 0.6:
        parts.append(_ledge(width, low - 0.15, low + 0.1, 0.14, light))
    if rng.random() < 0.4 and floors > 2:
        parts += _bays(rng, atlas, front, light, width, low, floors, cells, start)
    if shops:
        parts += _awnings(rng, atlas, width, cells)
    return join(parts)


def _side_wall(depth: float, top: float, floors: int, paint: Paint, x: float) -> Mesh:
    """The wall at x. If the tile of `paint` has windows, each floor has a row of them."""
    corners = [(x, 0, depth), (x, 0, 0), (x, top, 0), (x, top, depth)]
    return quad(corners if x == 0 else [corners[1], corners[0], corners[3], corners[2]], paint, (round(depth / CELL) / 4, floors / 4))


def _ledge(width: float, low: float, top: float, out: float, paint: Paint) -> Mesh:
    return box((-0.02, low, -out), (width + 0.02, top, 0.02), paint, 2, ("front", "left", "right", "top"))


def _roof(rng: np.random.Generator, atlas: Atlas, width: float, depth: float, wall_top: float, wall: Paint, gabled: bool) -> list[Mesh]:
    light = Paint(atlas["plain"], BUILDING, _linear_colour((0.8, 0.78, 0.74), rng))
    if not gabled:
        parapet = wall_top + rng.uniform(0.4, 1.1)
        top = box((0, wall_top - 0.01, 0), (width, parapet, depth), wall, 8)
        return [top, _ledge(width, parapet - 0.3, parapet + 0.05, rng.uniform(0.1, 0.35), light)]
    tiles = Paint(atlas["shingles"], BUILDING, _linear_colour(_ROOFS[int(rng.integers(len(_ROOFS)))], rng))
    ridge, over = wall_top + depth / 2 * rng.uniform(0.55, 0.95), 0.35
    eaves = wall_top - over * 0.7
    slope = float(np.hypot(depth / 2 + over, ridge - eaves)) / 4
    faces = np.array(
        [
            [(-0.1, eaves, -over), (width + 0.1, eaves, -over), (width + 0.1, ridge, depth / 2), (-0.1, ridge, depth / 2)],
            [(width + 0.1, eaves, depth + over), (-0.1, eaves, depth + over), (-0.1, ridge, depth / 2), (width + 0.1, ridge, depth / 2)],
        ]
    )
    uv = np.array([[0, 0], [width / 4, 0], [width / 4, slope], [0, slope]])
    parts = [quads(faces, np.stack([uv, uv]), tiles), _ledge(width, eaves - 0.2, eaves, over, light)]
    for x in (0.0, width):
        corners = [(x, wall_top, depth), (x, wall_top, 0), (x, ridge, depth / 2), (x, ridge, depth / 2)]
        parts.append(quad(corners if x == 0 else [corners[1], corners[0], corners[2], corners[3]], wall, (depth / 8, 0.3)))
    if rng.random() < 0.7:
        x, z = rng.uniform(0.1, 0.8) * width, depth * rng.uniform(0.35, 0.6)
        stack = Paint(atlas["bricks"], BUILDING, _linear_colour(_BRICKS[int(rng.integers(len(_BRICKS)))], rng))
        parts.append(box((x, wall_top, z), (x + 0.9, ridge + rng.uniform(0.6, 1.3), z + 0.6), stack, 8))
    for cell in range(max(1, round(width / 4))):
        if rng.random() < 0.35:
            x = (cell + 0.3) * 4
            if x + 1.4 < width:
                parts.append(_dormer(atlas, light, x, wall_top + 0.5, depth))
    return parts


def _dormer(atlas: Atlas, light: Paint, x: float, low: float, depth: float) -> Mesh:
    glass = Paint(atlas["car screen"], BUILDING, light.tint)
    return join(
        [
            box((x, low - 0.4, depth * 0.12), (x + 1.4, low + 1.3, depth * 0.45), light, 2),
            quad([(x + 0.2, low + 0.1, depth * 0.119), (x + 1.2, low + 0.1, depth * 0.119), (x + 1.2, low + 1.1, depth * 0.119),
                  (x + 0.2, low + 1.1, depth * 0.119)], glass),
        ]
    )  # fmt: skip


def _bays(
    rng: np.random.Generator, atlas: Atlas, front: Paint, light: Paint, width: float, low: float, floors: int, cells: int,
    start: tuple[float, float],
) -> list[Mesh]:  # fmt: skip
    """A bay in front of the house, or balconies."""
    cell_width, parts = width / cells, []
    if rng.random() < 0.5:
        cell = int(rng.integers(cells))
        x, top, out = cell * cell_width + 0.2, low + FLOOR * (floors - 1), rng.uniform(0.5, 0.9)
        bay = box((x, low, -out), (x + cell_width - 0.4, top, 0), front, 1, ("front", "left", "right", "top"))
        uv = bay.uv.copy()
        uv[..., 0] = start[0] + cell / 4 + uv[..., 0] / np.maximum(np.ptp(uv[..., 0], 1)[:, None], 1e-9) / 4
        uv[..., 1] = start[1] + uv[..., 1] / FLOOR / 4
        parts.append(replace(bay, uv=uv))
        return parts
    rail = Paint(atlas["railing"], BUILDING, (0.1, 0.1, 0.1), cutout=True)
    for floor in range(floors - 1):
        for cell in range(int(rng.integers(2)), cells, 2):
            x, y = cell * cell_width + 0.25, low + FLOOR * floor
            parts.append(box((x, y - 0.12, -1.0), (x + cell_width - 0.5, y, 0), light, 2))
            parts.append(
                quad([(x, y, -1), (x + cell_width - 0.5, y, -1), (x + cell_width - 0.5, y + 1, -1), (x, y + 1, -1)], rail, (1.5, 1))
            )
    return parts


def _awnings(rng: np.random.Generator, atlas: Atlas, width: float, cells: int) -> list[Mesh]:
    parts, cell_width = [], width / cells
    for cell in range(cells):
        if rng.random() < 0.3:
            tint = np.clip(rng.uniform(0.08, 0.5) + rng.uniform(-0.12, 0.12, 3), 0.02, 1)
            cloth = Paint(atlas["stripes" if rng.random() < 0.5 else "plain"], BUILDING).with_tint(*tint.tolist())
            x, out = cell * cell_width + 0.1, rng.uniform(0.8, 1.3)
            corners = np.array([(x, 2.35, -out), (x + cell_width - 0.2, 2.35, -out), (x + cell_width - 0.2, 2.9, 0), (x, 2.9, 0)])
            uv = np.array([[0, 0], [0, 1], [1, 1], [1, 0]])
            parts.append(quads(np.stack([corners, corners[::-1]]), np.stack([uv, uv]), cloth))
            parts.append(
                quad([(x, 2.15, -out), (x + cell_width - 0.2, 2.15, -out), (x + cell_width - 0.2, 2.35, -out), (x, 2.35, -out)], cloth)
            )
    return parts
