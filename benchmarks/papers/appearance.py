"""The appearance of a subject: random skin, face, hair and clothes, as one mesh of labelled, textured parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import faces
import numpy as np
import textures
from anatomy import Anatomy
from body import Array, Skeleton, draw_proportions
from hair import HATS, draw_hair_style, hair_of, hat_of
from shapes import Ball, Loft, Mesh, Shape, Solid, bind_skirt, build_mesh, join
from textures import Colour, Image

from stages.tables.label_tables import LabelTable

_LABELS = {
    "background": (0, 0, 0), "face": (255, 205, 170), "hair": (120, 60, 20), "headwear": (200, 40, 160), "upper garment": (220, 40, 40),
    "outer garment": (130, 20, 60), "dress": (250, 130, 190), "lower garment": (40, 80, 220), "left arm": (255, 170, 60),
    "right arm": (230, 220, 60), "left leg": (60, 190, 90), "right leg": (150, 230, 80), "left shoe": (60, 200, 220),
    "right shoe": (30, 120, 160), "gloves": (150, 90, 220),
}  # fmt: skip
LABELS = LabelTable("actors", tuple(_LABELS), tuple(_LABELS.values()))
"""Arms and legs are bare skin, including hands. Left and right are those of the person."""

SLACK = 0.003
"""Surfaces that lie deeper than this, in metres, inside a garment enlarged by its `Part.hidden_depth` are left out."""


@dataclass(frozen=True)
class Material:
    """What a surface looks like."""

    tile: Image
    """A texture that repeats every `size` metres."""
    size: float = 0.5
    gloss: float = 0.0
    decal: Image | None = None
    """RGBA, placed on the front of the part."""
    decal_square: tuple[float, float, float] = (0.0, 0.0, 1.0)
    """Left x, top y and side of the square that the decal covers, in metres, in the rest pose."""
    skin: bool = False
    """Skin scatters light."""


@dataclass(frozen=True)
class Part:
    """A solid with its label and material."""

    label: str
    """One of LABELS; "arm", "leg" and "shoe" get their side when the mesh is made."""
    solid: Solid
    material: Material
    cell: float = 0.013
    """Size of the mesh's triangles, in metres."""
    skirt: bool = False
    """Bound to the bones by `bind_skirt`."""
    hides: bool = True
    """Whether earlier parts are left out where they are inside this one."""
    hidden_depth: float = 0.012
    """Metres by which this part is enlarged, except at its edges, so that it also hides earlier parts that stick out of it slightly."""


@dataclass(frozen=True)
class Actor:
    """A person that can be posed. labels [F]: of the F faces of `mesh`; materials [F]: their indices in `palette`."""

    skeleton: Skeleton
    mesh: Mesh
    labels: np.ndarray
    materials: np.ndarray
    palette: Sequence[Material]
    description: str = ""


@dataclass
class _Wardrobe:
    """The parts of an actor while it is built, from the skin outward. worn: names of the garments."""

    anatomy: Anatomy
    rng: np.random.Generator
    parts: list[Part] = field(default_factory=list)
    worn: list[str] = field(default_factory=list)

    def seed(self) -> int:
        """A random seed for the wrinkles of a part."""
        return int(self.rng.integers(1 << 31))

    def cloth(self, plainness: float = 1.0, neutral: float = 0.45) -> tuple[Material, Colour]:
        """A random fabric and its base colour. plainness: see `textures.fabric`; neutral: see `textures.cloth_colour`."""
        base = textures.cloth_colour(self.rng, neutral)
        return Material(textures.fabric(self.rng, base, plainness), float(self.rng.uniform(0.3, 0.7))), base

    def wear(self, part: Part, name: str) -> None:
        """Add a part over the others. name: of the garment, for the description; empty if another part has added it."""
        self.parts.append(part)
        self.worn.append(name)


def draw_actor(rng: np.random.Generator) -> Actor:
    skeleton = Skeleton(draw_proportions(rng))
    wardrobe = _Wardrobe(Anatomy(skeleton), rng)
    face = faces.draw_face(rng, skeleton.proportions.feminine)
    _add_body(wardrobe, face)
    _add_outfit(wardrobe)
    _add_hair(wardrobe, face)
    return _assemble(skeleton, wardrobe)


def _add_body(wardrobe: _Wardrobe, face: faces.Face) -> None:
    a, u = wardrobe.anatomy, wardrobe.anatomy.head_height
    flesh = Material(textures.skin_tile(wardrobe.rng, face.skin), 0.4, gloss=0.12, skin=True)
    painted = replace(flesh, decal=faces.paint_face(face, wardrobe.rng), decal_square=faces.decal_square(a.skeleton.skull, u))
    wardrobe.parts.append(Part("face", a.head(), painted, 0.0085, hides=False))
    wardrobe.parts.append(Part("face", Solid([*a.yoke(), *a.trunk()], smooth=0.02), flesh, hides=False))
    for side in ("left", "right"):
        wardrobe.parts.append(Part("arm", Solid([*a.yoke(), *a.arm(side)], smooth=0.02), flesh, hides=False))
        wardrobe.parts.append(Part("arm", a.hand(side), flesh, 0.0065, hides=False))
        wardrobe.parts.append(Part("leg", Solid(a.leg(side)), flesh, hides=False))
        wardrobe.parts.append(Part("leg", a.foot(side), flesh, 0.01, hides=False))


def _add_outfit(wardrobe: _Wardrobe) -> None:
    """Add an outfit: shoes; a dress, or trousers or a skirt with a top; sometimes a jacket and gloves."""
    feminine = wardrobe.anatomy.feminine
    _add_shoes(wardrobe)
    kind = wardrobe.rng.random()
    if kind < 0.22 * (0.1 + 1.6 * feminine):
        _add_dress(wardrobe)
    else:
        tucked = wardrobe.rng.random() < 0.35
        add_lower: Callable[[_Wardrobe, float], None] = _add_skirt if wardrobe.rng.random() < 0.3 * feminine else _add_trousers
        add_lower(wardrobe, 0.022 if tucked else 0.012)
        _add_top(wardrobe, 0.012 if tucked else 0.026, tucked)
    if wardrobe.rng.random() < 0.3:
        _add_jacket(wardrobe)
    if wardrobe.rng.random() < 0.05:
        material, _ = wardrobe.cloth(6, 0.8)
        for side in ("left", "right"):
            wardrobe.wear(Part("gloves", wardrobe.anatomy.hand(side, 0.005), material, 0.007), "gloves")


def _add_shoes(wardrobe: _Wardrobe) -> None:
    base = textures.cloth_colour(wardrobe.rng, 0.7)
    shaft = float(wardrobe.rng.choice([0.0, 0.012, 0.05, 0.1], p=[0.45, 0.3, 0.17, 0.08]))
    material = Material(
        textures.uneven_tile(wardrobe.rng, np.broadcast_to(base, (256, 256, 3)), 0.06), 0.3, gloss=float(wardrobe.rng.choice([0.05, 0.5]))
    )
    pale = Material(textures.uneven_tile(wardrobe.rng, np.broadcast_to(textures.hex_colour("e6e3dc"), (256, 256, 3)), 0.05), 0.3)
    rim = wardrobe.rng.random() < 0.45
    for side in ("left", "right"):
        wardrobe.wear(Part("shoe", wardrobe.anatomy.foot(side, 0.006, shaft), material, 0.009), "shoes")
        if rim:
            wardrobe.wear(Part("shoe", replace(wardrobe.anatomy.foot(side, 0.009, -0.03), max_height=0.022), pale, 0.009), "")


def _add_trousers(wardrobe: _Wardrobe, ease: float) -> None:
    a, rng = wardrobe.anatomy, wardrobe.rng
    reach = float(rng.choice([1.93, 1.7, 1.02, 0.75, 0.5], p=[0.6, 0.07, 0.12, 0.13, 0.08]))
    flare = float(rng.choice([0.0, 0.012, 0.03, 0.06], p=[0.35, 0.35, 0.2, 0.1])) + (0.015 if reach < 1.2 else 0)
    cut = float(rng.uniform(0.005, 0.011))
    if rng.random() < 0.42 and reach != 1.02:
        base = textures.hex_colour(str(rng.choice(["2c3e5e", "4a648c", "7c95b4", "22262e", "1d2b45", "9fb0c4"])))
        material, name = Material(textures.denim(rng, base), 0.45), "jeans"
    else:
        material, name = wardrobe.cloth(9, 0.7)[0], "trousers"
    shapes: list[Shape] = [*a.trunk(cut), *a.leg("left", cut, reach, flare), *a.leg("right", cut, reach, flare)]
    shapes[0] = _waistband(shapes[0], ease)
    solid = Solid(
        shapes, max_height=a.at["abdomen"][1] + float(rng.uniform(-0.02, 0.04)), folds=0.004, fold_length=0.13, seed=wardrobe.seed()
    )
    wardrobe.wear(Part("lower garment", solid, material), name if reach > 1.1 else f"short {name}")


def _waistband(trunk: Shape, ease: float) -> Shape:
    """The upper end of trousers: the trunk, wider by `ease` minus a centimetre."""
    assert isinstance(trunk, Loft)
    return replace(trunk, widths=[width + ease - 0.01 for width in trunk.widths], depths=[depth + ease - 0.01 for depth in trunk.depths])


def _skirt_shape(wardrobe: _Wardrobe, top: float, ease: float, length: float, flare: float) -> Loft:
    """A skirt from the height `top` down. length: 1 reaches the knee, 2 the ankle."""
    a = wardrobe.anatomy
    trunk = a.trunk(ease)[0]
    assert isinstance(trunk, Loft)
    hip, foot = a.at["left thigh"][1], a.at["left foot"][1]
    hem = hip - 0.5 * length * (hip - foot)
    waist, hips = min(trunk.widths[3:6]), max(trunk.widths[:4]) + 0.02
    share = (top - hip) / (top - hem)
    positions, across = np.array([0, 0.6 * share, 1.15 * share, 1]), np.array([waist, 0.5 * (waist + hips), hips, hips + flare])
    widths = np.interp(np.linspace(0, 1, 8), positions, across)
    thigh, shin, ankle = (a.at[f"left {part}"] for part in ("thigh", "shin", "foot"))
    heights = np.linspace(top, hem, 8)
    legs = np.interp(-heights, [-thigh[1], -shin[1], -ankle[1]], [thigh[0], shin[0], ankle[0]])
    leg_width = np.interp(-heights, [-thigh[1], -shin[1], -ankle[1]], [0.055 * a.height, 0.04 * a.height, 0.03 * a.height]) * a.build
    widths = np.where(heights < hip, np.maximum(widths, legs + leg_width + 0.012), widths)
    depth_ratio = np.interp(np.linspace(0, 1, 8), [0, 1], [0.74, 0.85])
    return Loft(
        np.array([0, top, 0]), np.array([0, hem, -0.005]), widths.tolist(), (widths * depth_ratio).tolist(), flat_ends=(False, True)
    )


def _add_skirt(wardrobe: _Wardrobe, ease: float) -> None:
    material, _ = wardrobe.cloth(1.0, 0.4)
    length, flare = float(wardrobe.rng.choice([0.6, 0.95, 1.3, 1.75])), float(wardrobe.rng.uniform(0.0, 0.16))
    top = wardrobe.anatomy.at["abdomen"][1] + 0.01
    solid = Solid([_skirt_shape(wardrobe, top, ease, length, flare)], max_height=top, folds=0.008, fold_length=0.12, seed=wardrobe.seed())
    wardrobe.wear(Part("lower garment", solid, material, skirt=True), "skirt")


def _necklines(wardrobe: _Wardrobe) -> list[Shape]:
    """The shapes that are cut out of a garment at the neck."""
    a, h = wardrobe.anatomy, wardrobe.anatomy.height
    neck = a.at["neck"]
    depth, width = float(wardrobe.rng.uniform(0.03, 0.075)) * h, float(wardrobe.rng.uniform(0.036, 0.05)) * h
    hole: list[Shape] = [Ball(neck + [0, 0.035 * h, 0.018 * h], (width, 0.045 * h, 0.05 * h))]
    if wardrobe.rng.random() < 0.45:
        tip = neck + [0, 0.03 * h - depth, 0.075 * h]
        hole.append(Loft(tip, neck + [0, 0.03 * h, 0.05 * h], [0.006 * h, width], [0.05 * h, 0.05 * h]))
    return hole


def _sleeves(wardrobe: _Wardrobe, ease: float, reach: float, flare: float) -> list[Shape]:
    """Both sleeves. ease, reach, flare: see `Anatomy`."""
    return [shape for side in ("left", "right") for shape in wardrobe.anatomy.arm(side, ease, reach, flare)]


def _add_top(wardrobe: _Wardrobe, ease: float, tucked: bool) -> None:
    a, rng = wardrobe.anatomy, wardrobe.rng
    material, base = wardrobe.cloth()
    reach = float(rng.choice([0.0, 0.55, 0.72, 1.4, 1.96], p=[0.1, 0.3, 0.15, 0.07, 0.38]))
    loose, flare = float(rng.uniform(0, 1)), float(rng.choice([0.004, 0.012, 0.025]))
    cut = ease - 0.004 + float(rng.uniform(0, 0.012)) * loose
    shoulders = a.yoke(0.6 * cut) if reach else []
    hem = a.at["pelvis"][1] + float(rng.uniform(-0.05, 0.05)) if not tucked else a.at["abdomen"][1] - 0.02
    holes = _necklines(wardrobe)
    if not reach:
        holes += [
            Ball(a.at[f"{side} upper arm"] + [0, 0.01, 0], (0.045 * a.height, 0.07 * a.height, 0.09 * a.height))
            for side in ("left", "right")
        ]
    style = rng.random()
    if style < 0.3:
        material = replace(material, decal=textures.print_decal(rng, base), decal_square=_on_chest(a, float(rng.uniform(0.14, 0.24))))
    elif style < 0.5:
        material = replace(material, decal=textures.button_decal(rng, base), decal_square=(-0.29, a.at["neck"][1] + 0.0, 0.58))
    shapes = [*a.trunk(cut, loose), *shoulders, *_sleeves(wardrobe, 0.8 * cut, reach, flare)]
    solid = Solid(shapes, holes, min_height=hem, folds=0.005, seed=wardrobe.seed())
    wardrobe.wear(Part("upper garment", solid, material), f"top with sleeves of {reach:g}")
    if reach > 1 and rng.random() < 0.35:
        collar = Loft(
            a.at["neck"] + [0, 0.002, 0],
            a.at["neck"] + [0, 0.034 * a.height, 0.012],
            [0.041 * a.height, 0.036 * a.height],
            flat_ends=(True, True),
        )
        wardrobe.wear(Part("upper garment", Solid([collar]), Material(material.tile, material.size), 0.01), "collar")


def _on_chest(a: Anatomy, side: float) -> tuple[float, float, float]:
    """The square of a decal on the chest; see `Material.decal_square`."""
    return -side / 2, a.at["chest"][1] + 0.065 * a.height + side / 2 - 0.03, side


def _add_dress(wardrobe: _Wardrobe) -> None:
    a, rng = wardrobe.anatomy, wardrobe.rng
    material, _ = wardrobe.cloth(0.8, 0.3)
    reach = float(rng.choice([0.0, 0.5, 1.3, 1.95], p=[0.4, 0.3, 0.1, 0.2]))
    length, flare = float(rng.choice([0.75, 1.0, 1.4, 1.85])), float(rng.uniform(0.0, 0.2))
    waist = a.at["abdomen"][1] + 0.02 * a.height
    holes = _necklines(wardrobe)
    if not reach:
        holes += [
            Ball(a.at[f"{side} upper arm"] + [0, 0.01, 0], (0.045 * a.height, 0.07 * a.height, 0.09 * a.height))
            for side in ("left", "right")
        ]
    shapes = [*a.trunk(0.013), *(a.yoke(0.008) if reach else []), *_sleeves(wardrobe, 0.01, reach, 0.01)]
    seed = wardrobe.seed()
    wardrobe.wear(Part("dress", Solid(shapes, holes, min_height=waist - 0.06, folds=0.003, seed=seed), material), "dress")
    skirt = Solid([_skirt_shape(wardrobe, waist, 0.013, length, flare)], max_height=waist, folds=0.008, fold_length=0.12, seed=seed)
    wardrobe.wear(Part("dress", skirt, material, skirt=True), "")
    if rng.random() < 0.4:
        belt = Solid([a.trunk(0.021)[0]], min_height=waist - 0.035, max_height=waist)
        wardrobe.wear(Part("dress", belt, Material(textures.fabric(rng, textures.cloth_colour(rng), 20), 0.3)), "belt")


def _add_jacket(wardrobe: _Wardrobe) -> None:
    """Add a jacket, open in front."""
    a, rng, h = wardrobe.anatomy, wardrobe.rng, wardrobe.anatomy.height
    material, _ = wardrobe.cloth(5, 0.6)
    hem = a.at["pelvis"][1] + float(rng.choice([0.04, -0.06, -0.14]))
    gap = float(rng.uniform(0.012, 0.045)) * h
    bottom, top = np.array([0, hem - 0.1, 0.14]), a.at["neck"] + [0, 0.05 * h, 0.1]
    opening: list[Shape] = [Loft(bottom, top, [1.5 * gap, gap, 0.8 * gap, 1.4 * gap, 0.05 * h], [0.14, 0.14, 0.14, 0.14, 0.13])]
    reach = float(rng.choice([1.95, 1.5, 0.0], p=[0.75, 0.1, 0.15]))
    shapes = [*a.trunk(0.034, float(rng.uniform(0.2, 0.9))), *(a.yoke(0.024) if reach else []), *_sleeves(wardrobe, 0.024, reach, 0.008)]
    neck: list[Shape] = [Ball(a.at["neck"] + [0, 0.035 * h, 0.005 * h], (0.042 * h, 0.042 * h, 0.055 * h))]
    if not reach:
        neck += [Ball(a.at[f"{side} upper arm"] + [0, 0.01, 0], (0.04 * h, 0.07 * h, 0.09 * h)) for side in ("left", "right")]
    solid = Solid(shapes, [*neck, *opening], min_height=hem, folds=0.006, seed=wardrobe.seed())
    wardrobe.wear(Part("outer garment", solid, material, hidden_depth=0.035), "jacket")


def _add_hair(wardrobe: _Wardrobe, face: faces.Face) -> None:
    style = draw_hair_style(wardrobe.rng, wardrobe.anatomy.feminine)
    covered = wardrobe.rng.random() < 0.14
    strands = Material(textures.strands(wardrobe.rng, face.hair), 0.35, gloss=0.18)
    for solid in hair_of(wardrobe.anatomy, style, covered, wardrobe.seed()):
        wardrobe.wear(Part("hair", solid, strands, 0.0095), style.name)
    if covered:
        name = str(wardrobe.rng.choice(HATS))
        material, _ = wardrobe.cloth(4, 0.6)
        for solid in hat_of(wardrobe.anatomy, name):
            wardrobe.wear(Part("headwear", solid, material, 0.0095), name)


def _assemble(skeleton: Skeleton, wardrobe: _Wardrobe) -> Actor:
    """One mesh of all parts, without the faces that later parts hide."""
    meshes, labels, materials = [], [], []
    for index, part in enumerate(wardrobe.parts):
        surface = build_mesh(part.solid, part.cell, skeleton)
        if part.skirt:
            surface = replace(surface, weights=bind_skirt(surface.vertices, skeleton))
        hidden = np.zeros(len(surface.vertices), bool)
        for other in wardrobe.parts[index + 1 :]:
            if other.hides:
                hidden |= _inside(other, surface.vertices)
        surface = surface.without(hidden[surface.faces].all(1))
        if len(surface.faces):
            meshes.append(surface)
            labels.append(_labels(part.label, surface))
            materials.append(np.full(len(surface.faces), index, np.int32))
    palette = [part.material for part in wardrobe.parts]
    description = ", ".join(dict.fromkeys(name for name in wardrobe.worn if name))
    return Actor(skeleton, join(meshes), np.concatenate(labels), np.concatenate(materials), palette, description)


def _inside(part: Part, points: Array) -> np.ndarray:
    """Which of the points [N, 3] the part hides."""
    low, high = part.solid.bounds()
    near = np.flatnonzero(((points > low - part.hidden_depth) & (points < high + part.hidden_depth)).all(1))
    inside = np.zeros(len(points), bool)
    if len(near):
        inside[near] = part.solid.distance(points[near], part.hidden_depth) < -SLACK
    return inside


def _labels(label: str, surface: Mesh) -> np.ndarray:
    """The label ids of the faces; arms, legs and shoes are divided into left and right."""
    if label not in ("arm", "leg", "shoe"):
        return np.full(len(surface.faces), LABELS.names.index(label), np.uint8)
    left = surface.vertices[surface.faces][..., 0].mean(1) > 0
    return np.where(left, LABELS.names.index(f"left {label}"), LABELS.names.index(f"right {label}")).astype(np.uint8)
