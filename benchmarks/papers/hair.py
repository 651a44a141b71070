"""Hair and hats around a head."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from anatomy import Anatomy
from body import Array
from shapes import Ball, Loft, Shape, Solid

STYLES = ("bald", "stubble", "short", "crop", "bob", "long", "bun", "ponytail", "afro", "curls")
_MASCULINE = (0.08, 0.12, 0.36, 0.22, 0.03, 0.04, 0.03, 0.03, 0.05, 0.04)
_FEMININE = (0.01, 0.02, 0.08, 0.07, 0.22, 0.27, 0.1, 0.12, 0.04, 0.07)
HATS = ("cap", "beanie", "hat")


@dataclass(frozen=True)
class HairStyle:
    """Relative to the head's height: thickness of the hair on the skull, how far the fringe reaches down, length of hanging hair."""

    name: str
    thickness: float
    fringe: float
    length: float


def draw_hair_style(rng: np.random.Generator, feminine: float) -> HairStyle:
    weights = np.array(_FEMININE) * feminine + np.array(_MASCULINE) * (1 - feminine)
    name = str(rng.choice(STYLES, p=weights / weights.sum()))
    thickness = {"stubble": 0.012, "crop": 0.03, "afro": 0.2, "curls": 0.1}.get(name, 0.05) * rng.uniform(0.85, 1.4)
    return HairStyle(name, float(thickness), float(rng.uniform(-0.06, 0.12)), float(rng.uniform(0.5, 1.5)))


def hair_of(anatomy: Anatomy, style: HairStyle, covered: bool, seed: int) -> list[Solid]:
    """The solids of a hair style. covered: the hair is flat, under a hat. seed: of its unevenness."""
    if style.name == "bald":
        return []
    u, skull = anatomy.head_height, anatomy.skeleton.skull
    thickness = min(style.thickness, 0.03) if covered else style.thickness
    uneven = {"curls": 0.03, "afro": 0.02, "stubble": 0.0}.get(style.name, 0.012) * u * (0.3 if covered else 1)
    waves = 0.05 if style.name in ("curls", "afro") else 0.09
    cap = _cap(anatomy, thickness)
    face = _open_face(anatomy, style.fringe)
    hangs = style.name in ("bob", "long")
    nape = skull[1] - (0.3 if style.name not in ("afro", "curls") else 0.42) * u
    ears = [Ball(skull + u * np.array([sign * 0.38, -0.1, 0.06]), (0.14 * u, 0.17 * u, 0.13 * u)) for sign in (-1, 1)]
    holes = face if hangs or style.name in ("afro", "curls") else [*face, *ears]
    solids = [Solid([cap], holes, min_height=nape, smooth=0.03 * u, folds=uneven, fold_length=waves, seed=seed)]
    if hangs:
        solids.append(_curtain(anatomy, 0.45 if style.name == "bob" else style.length, face, uneven, seed))
    if style.name == "bun":
        at = skull + u * np.array([0, 0.42, -0.32]) if seed % 2 else skull + u * np.array([0, 0.05, -0.58])
        solids.append(Solid([Ball(at, (0.17 * u, 0.16 * u, 0.16 * u))], folds=uneven, fold_length=0.05, seed=seed))
    if style.name == "ponytail":
        root = skull + u * np.array([0, 0.15, -0.46])
        tail: list[Shape] = [Loft(root, root + u * np.array([0, -0.25, -0.16]), [0.08 * u, 0.11 * u])]
        tail.append(
            Loft(
                root + u * np.array([0, -0.25, -0.16]), root + u * np.array([0, -0.4 - style.length, -0.1]), [0.11 * u, 0.12 * u, 0.03 * u]
            )
        )
        solids.append(Solid(tail, smooth=0.03 * u, folds=uneven, fold_length=0.06, seed=seed))
    return solids


def _cap(anatomy: Anatomy, thickness: float) -> Ball:
    u = anatomy.head_height
    return Ball(
        anatomy.skeleton.skull + u * np.array([0, 0.09, -0.07]),
        ((0.355 + thickness) * u, (0.41 + 1.1 * thickness) * u, (0.44 + thickness) * u),
    )


def _open_face(anatomy: Anatomy, fringe: float) -> list[Shape]:
    """The shapes that are cut out of the hair to leave the face free."""
    u, skull = anatomy.head_height, anatomy.skeleton.skull
    return [Ball(skull + u * np.array([0, -0.2 - fringe, 0.5]), (0.29 * u, 0.5 * u, 0.42 * u))]


def _curtain(anatomy: Anatomy, length: float, face: list[Shape], uneven: float, seed: int) -> Solid:
    """Hair that hangs down behind and beside the neck."""
    u, skull = anatomy.head_height, anatomy.skeleton.skull
    top, end = skull + u * np.array([0, 0.1, -0.1]), skull + u * np.array([0, -0.2 - length, -0.22])
    widths = [0.4 * u, 0.42 * u, 0.4 * u, 0.34 * u]
    throat = Loft(skull + u * np.array([0, -0.4, 0.3]), skull + u * np.array([0, -2.2, 0.3]), [0.3 * u, 0.6 * u], [0.4 * u, 0.5 * u])
    shapes = [Loft(top, end, widths, [0.36 * u, 0.34 * u, 0.24 * u, 0.12 * u])]
    return Solid(shapes, [*face, throat], smooth=0.03 * u, folds=1.5 * uneven, fold_length=0.07, seed=seed)


def hat_of(anatomy: Anatomy, name: str) -> list[Solid]:
    u, skull = anatomy.head_height, anatomy.skeleton.skull
    brow = skull[1] + 0.16 * u

    def at(x: float, y: float, z: float) -> Array:
        return skull + u * np.array([x, y, z])

    if name == "beanie":
        return [
            Solid(
                [Ball(at(0, 0.12, -0.06), (0.43 * u, 0.5 * u, 0.51 * u))], min_height=brow - 0.04 * u, folds=0.006, fold_length=0.06, seed=3
            )
        ]
    crown = Solid([Ball(at(0, 0.13, -0.06), (0.41 * u, 0.45 * u, 0.49 * u))], min_height=brow)
    if name == "cap":
        peak = Loft(at(0, 0.17, 0.25), at(0, 0.13, 0.62), [0.32 * u, 0.3 * u], [0.03 * u, 0.025 * u], (0.0, 1.0, 0.0))
        return [crown, Solid([peak])]
    brim = Ball(at(0, 0.17, -0.05), (0.75 * u, 0.05 * u, 0.78 * u))
    return [
        Solid(
            [Loft(at(0, 0.16, -0.05), at(0, 0.5, -0.05), [0.44 * u, 0.4 * u, 0.36 * u], [0.49 * u, 0.46 * u, 0.42 * u])], min_height=brow
        ),
        Solid([brim]),
    ]
