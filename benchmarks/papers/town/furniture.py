"""Street furniture: lamps, signs, traffic lights, bollards, fences."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .atlas import Atlas
from .labels import FENCE, POLE, SIGN
from .meshes import Mesh, Paint, box, disc, join, quad, tube

Array = NDArray[np.floating]

_STEEL = (0.2, 0.21, 0.22)
_GREEN = (0.05, 0.1, 0.07)


def lamp_post(atlas: Atlas, height: float, arm: float, old: bool) -> Mesh:
    """A lamp post at the origin. Its arm reaches over the road, towards -z; an old one has a lantern on top instead."""
    steel = Paint(atlas["plain"], POLE, _GREEN if old else _STEEL)
    light = Paint(atlas["lamp"], POLE)
    parts = [tube((0, 0, 0), (0, 0.9, 0), (0.11, 0.09), steel, 8), tube((0, 0.9, 0), (0, height, 0), (0.065, 0.05), steel, 8)]
    if old:
        parts.append(tube((0, height, 0), (0, height + 0.5, 0), (0.14, 0.24), light, 6))
        parts.append(tube((0, height + 0.5, 0), (0, height + 0.8, 0), (0.28, 0.02), steel, 6))
        return join(parts)
    parts.append(tube((0, height - 0.05, 0.05), (0, height + 0.25, -arm), (0.04, 0.035), steel, 6))
    parts.append(box((-0.12, height + 0.2, -arm - 0.6), (0.12, height + 0.32, -arm), steel))
    parts.append(box((-0.1, height + 0.14, -arm - 0.55), (0.1, height + 0.2, -arm - 0.05), light))
    return join(parts)


def road_sign(rng: np.random.Generator, atlas: Atlas) -> Mesh:
    """A sign at the origin, facing -z."""
    steel = Paint(atlas["plain"], POLE, (0.35, 0.36, 0.37))
    height = float(rng.uniform(2.2, 2.7))
    kind = str(rng.choice(["limit", "no way", "parking", "direction"], p=[0.4, 0.15, 0.25, 0.2]))
    parts = [tube((0, 0, 0), (0, height + 0.3, 0), (0.04, 0.04), steel, 6)]
    back = Paint(atlas["plain"], SIGN, (0.3, 0.31, 0.32))
    face = Paint(atlas[kind], SIGN)
    if kind in ("limit", "no way"):
        parts += [disc((0, height, -0.06), (0, 0, -1), 0.34, face, 16), disc((0, height, -0.055), (0, 0, 1), 0.34, back, 16)]
    else:
        half_width, half_height = (0.6, 0.32) if kind == "direction" else (0.3, 0.3)
        for half, z, paint in ((half_width, -0.06, face), (-half_width, -0.05, back)):
            low, top = height - half_height, height + half_height
            parts.append(quad([(-half, low, z), (half, low, z), (half, top, z), (-half, top, z)], paint))
    return join(parts)


def traffic_light(atlas: Atlas) -> Mesh:
    """A traffic light at the origin, facing -z."""
    steel, case = Paint(atlas["plain"], POLE, (0.12, 0.12, 0.13)), Paint(atlas["plain"], SIGN, (0.03, 0.03, 0.03))
    face = Paint(atlas["signals"], SIGN)
    return join(
        [
            tube((0, 0, 0), (0, 2.5, 0), (0.07, 0.06), steel, 8),
            box((-0.17, 2.4, -0.14), (0.17, 3.4, 0.1), case),
            quad([(-0.15, 2.42, -0.145), (0.15, 2.42, -0.145), (0.15, 3.38, -0.145), (-0.15, 3.38, -0.145)], face),
        ]
    )


def bollard(atlas: Atlas) -> Mesh:
    dark = Paint(atlas["plain"], POLE, (0.04, 0.04, 0.045))
    pale = Paint(atlas["plain"], POLE, (0.7, 0.7, 0.68))
    return join([tube((0, 0, 0), (0, 0.75, 0), (0.09, 0.08), dark, 8), tube((0, 0.75, 0), (0, 0.88, 0), (0.085, 0.08), pale, 8),
                   tube((0, 0.88, 0), (0, 0.98, 0), (0.08, 0.01), dark, 8)])  # fmt: skip


def fence(rng: np.random.Generator, atlas: Atlas, length: float) -> Mesh:
    """A fence along x from 0 to `length` at z = 0: planks, or railings with gaps."""
    height = float(rng.uniform(0.9, 1.7))
    if rng.random() < 0.5:
        tint = ((0.45, 0.33, 0.22), (0.75, 0.74, 0.7), (0.3, 0.24, 0.2))[int(rng.integers(3))]
        return box((0, 0, 0), (length, height, 0.06), Paint(atlas["fence"], FENCE, tint), 1.6)
    bars = Paint(atlas["railing"], FENCE, (0.15, 0.15, 0.15), cutout=True)
    return quad([(0, 0, 0), (length, 0, 0), (length, 1.1, 0), (0, 1.1, 0)], bars, (length / 1.4, 1))


def garden_wall(rng: np.random.Generator, atlas: Atlas, length: float) -> Mesh:
    tint = ((0.3, 0.12, 0.08), (0.5, 0.46, 0.4))[int(rng.integers(2))]
    return box((0, 0, 0), (length, float(rng.uniform(0.5, 1.1)), 0.22), Paint(atlas["bricks"], FENCE, tint), 8)
