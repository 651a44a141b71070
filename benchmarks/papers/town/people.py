"""Pedestrians of rigid parts, who walk or stand."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .atlas import Atlas
from .labels import PEDESTRIAN
from .meshes import Mesh, Paint, box, join, loft, rigid_motion

Array = NDArray[np.floating]

PARTS = 9
"""Number of parts: the trunk with the head; then for the left and the right side upper arm, forearm, thigh, shin with foot."""
_SKINS = ((0.62, 0.42, 0.32), (0.5, 0.32, 0.22), (0.3, 0.18, 0.12), (0.68, 0.48, 0.38), (0.14, 0.08, 0.055))
_HAIR = ((0.02, 0.015, 0.012), (0.08, 0.045, 0.025), (0.25, 0.16, 0.07), (0.4, 0.38, 0.35), (0.14, 0.06, 0.03))
_CLOTHES = (
    (0.02, 0.02, 0.025), (0.06, 0.07, 0.12), (0.3, 0.3, 0.31), (0.6, 0.58, 0.54), (0.35, 0.05, 0.05), (0.05, 0.12, 0.3), (0.08, 0.2, 0.1),
    (0.55, 0.35, 0.1), (0.16, 0.11, 0.07), (0.35, 0.4, 0.5), (0.5, 0.12, 0.25), (0.02, 0.03, 0.06),
)  # fmt: skip
_TROUSERS = ((0.03, 0.04, 0.09), (0.02, 0.02, 0.022), (0.12, 0.12, 0.125), (0.25, 0.2, 0.13), (0.06, 0.09, 0.18), (0.1, 0.07, 0.05))


@dataclass(frozen=True)
class Person:
    """A pedestrian. parts: the PARTS meshes; the trunk has its origin between the hips, and limbs hang down from a joint at the origin.
    height: in metres. stride: length of two steps in metres.

    While the person walks, the arms swing by up to `swing` and the trunk leans ahead by `lean`, in radians.
    """

    parts: list[Mesh]
    height: float
    stride: float
    swing: float
    lean: float

    def pose(self, position: Array, yaw: float, phase: float, walking: float) -> Array:
        """Rigid motions [PARTS, 3, 4] of the parts of a person at `position` [3] on the ground, who faces the direction `yaw` in radians.

        phase: of the gait in radians; two steps take 2 pi. walking: 1 for a person who walks, 0 for one who stands.
        """
        height, leg = self.height, 0.47 * self.height
        thigh, shin, upper = 0.245 * height, 0.225 * height, 0.17 * height
        reach = float(np.arcsin(min(0.25 * self.stride / leg, 0.6))) * walking
        legs = []
        for side in (0.0, np.pi):
            hip = reach * np.sin(phase + side) + 0.06 * walking
            knee = -walking * (0.12 + 0.85 * max(0.0, np.cos(phase + side)) ** 1.5)
            legs.append((hip, knee))
        longest = max(float(thigh * np.cos(hip) + shin * np.cos(hip + knee)) for hip, knee in legs)
        base = rigid_motion(yaw, (position[0], position[1] + longest + 0.045 * height, position[2]))
        trunk = _joint(base, (0, 0, 0), -self.lean * walking)
        motions = [trunk]
        for index, side in ((0, -1), (1, 1)):
            hip, knee = legs[index]
            swing = -self.swing * np.sin(phase + np.pi * index) * walking
            arm = _joint(trunk, (side * 0.12 * height, 0.3 * height, 0), swing, side * 0.09)
            motions += [arm, _joint(arm, (0, -upper, 0), 0.25 + 0.3 * max(swing, 0) * walking)]
            upper_leg = _joint(base, (side * 0.05 * height, 0, 0), hip)
            motions += [upper_leg, _joint(upper_leg, (0, -thigh, 0), knee)]
        return np.stack(motions)


def _joint(parent: Array, position: tuple[float, float, float], bend: float, splay: float = 0.0) -> Array:
    """The motion [3, 4] of a part that hangs at `position` of its parent. bend swings its lower end ahead, splay to the right (radians)."""
    cosine, sine = np.cos(bend), np.sin(bend)
    about_x = np.array([[1, 0, 0], [0, cosine, sine], [0, -sine, cosine]])
    cosine, sine = np.cos(splay), np.sin(splay)
    about_z = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
    rotation = parent[:, :3] @ about_x @ about_z
    return np.concatenate([rotation, (parent[:, :3] @ np.array(position) + parent[:, 3])[:, None]], 1)


def draw_person(rng: np.random.Generator, atlas: Atlas) -> Person:
    height = float(np.clip(rng.normal(1.71, 0.09), 1.45, 1.95))
    if rng.random() < 0.1:
        height = float(rng.uniform(1.05, 1.4))
    width = rng.uniform(0.92, 1.15) * height

    def pick(colours: tuple[tuple[float, float, float], ...]) -> tuple[float, float, float]:
        red, green, blue = np.array(colours[int(rng.integers(len(colours)))]) * rng.uniform(0.8, 1.2)
        return float(red), float(green), float(blue)

    skin, coat, legs = pick(_SKINS), pick(_CLOTHES), pick(_TROUSERS)
    cloth = Paint(atlas["stripes" if rng.random() < 0.12 else "cloth"], PEDESTRIAN, coat)
    trousers = Paint(atlas["cloth"], PEDESTRIAN, legs)
    bare = Paint(atlas["plain"], PEDESTRIAN, skin)
    shoes = Paint(atlas["plain"], PEDESTRIAN, pick(((0.015, 0.014, 0.013), (0.5, 0.5, 0.5), (0.1, 0.06, 0.03))))
    sleeves = bare if rng.random() < 0.2 else cloth
    shins = bare if rng.random() < 0.12 else trousers
    outfit = str(rng.choice(["jacket", "coat", "skirt"], p=[0.62, 0.22, 0.16]))
    trunk = [_trunk(height, width, cloth, trousers, outfit), *_head(rng, height, atlas, skin, pick(_HAIR))]
    if rng.random() < 0.4:
        bag = Paint(atlas["cloth"], PEDESTRIAN, pick(_CLOTHES))
        back = rng.random() < 0.5
        low = np.array((-0.075, 0.12, -0.145) if back else (0.1, -0.06, -0.06)) * height
        trunk.append(box(low, low + np.array((0.15, 0.18, 0.085) if back else (0.05, 0.11, 0.14)) * height, bag))
    parts = [join(trunk)]
    for _ in range(2):
        hand = _limb(0.04 * height, 0.02 * height, 0.016 * height, bare).transform(rigid_motion(0, (0, -0.15 * height, 0)))
        parts.append(_limb(0.175 * height, 0.031 * width, 0.024 * width, cloth))
        parts.append(join([_limb(0.155 * height, 0.024 * width, 0.018 * width, sleeves), hand]))
        parts.append(_limb(0.25 * height, 0.05 * width, 0.034 * width, trousers))
        foot = box((-0.026 * height, -0.27 * height, -0.045 * height), (0.026 * height, -0.225 * height, 0.1 * height), shoes)
        parts.append(join([_limb(0.235 * height, 0.034 * width, 0.024 * width, shins), foot]))
    return Person(
        parts, height, 0.78 * height * float(rng.uniform(0.9, 1.05)), float(rng.uniform(0.3, 0.55)), float(rng.uniform(0.0, 0.06))
    )


def _ring(half_width: float, half_depth: float, y: float, sides: int = 8) -> Array:
    """Points [sides, 3] of a horizontal ellipse at the height y."""
    angle = np.arange(sides) * 2 * np.pi / sides + np.pi / sides
    return np.stack([half_width * np.sin(angle), np.full(sides, y), -half_depth * np.cos(angle)], -1)


def _limb(length: float, upper: float, lower: float, paint: Paint) -> Mesh:
    """A limb that hangs down from its joint at the origin. upper, lower: radii at its two ends."""
    middle = 0.5 * (upper + lower)
    shape = [(0, -1.02 * length), (lower, -length), (middle, -0.5 * length), (upper, 0), (0.5 * upper, 0.6 * upper), (0, 0.7 * upper)]
    return loft(np.array([_ring(radius, radius, y, 6) for radius, y in shape]), paint, (1, 1), 0.85)


def _trunk(height: float, width: float, cloth: Paint, trousers: Paint, outfit: str) -> Mesh:
    shape = [(0.098, 0.082, -0.075), (0.094, 0.074, -0.02), (0.09, 0.068, 0.03), (0.082, 0.06, 0.1), (0.1, 0.07, 0.2), (0.118, 0.07, 0.28),
             (0.108, 0.052, 0.318), (0.04, 0.036, 0.338), (0.03, 0.03, 0.36)]  # fmt: skip
    if outfit == "coat":
        shape[:2] = [(0.105, 0.1, -0.22), (0.096, 0.08, -0.02)]
    parts = [loft(np.array([_ring(x * width, z * width, y * height) for x, z, y in shape]), cloth, (1, 1), 0.9)]
    if outfit == "skirt":
        flared = [(0.13, 0.11, -0.22), (0.1, 0.08, -0.1), (0.086, 0.064, 0.06)]
        parts.append(loft(np.array([_ring(x * width, z * width, y * height) for x, z, y in flared]), trousers, (1, 1), 0.9))
    return join(parts)


def _head(
    rng: np.random.Generator, height: float, atlas: Atlas, skin: tuple[float, float, float], hair: tuple[float, float, float]
) -> list[Mesh]:
    """Head and hair. The tile of the face begins at the back of the head, so that its middle is in front."""
    shape = np.array([(0.0, -0.062), (0.03, -0.055), (0.041, -0.03), (0.045, 0.005), (0.041, 0.035), (0.026, 0.056), (0.0, 0.064)]) * height
    middle = np.array([0, 0.41 * height, 0.008 * height])
    rings = np.array([_ring(0.92 * radius, 1.08 * radius, y) for radius, y in shape]) + middle
    face = loft(rings, Paint(atlas["face"], PEDESTRIAN, skin), (1, 1))
    front = face.corners.mean(1)[:, 2] > middle[2] + 0.012 * height
    face = replace(face, tile=np.where(front, face.tile, atlas["plain"]))
    cap = (rings - middle) * 1.09 + middle
    covered = loft(cap, Paint(atlas["cloth"], PEDESTRIAN, hair))
    position = (covered.corners.mean(1) - middle) / height
    long = rng.random() < 0.4
    kept = (position[:, 1] > 0.03) | ((position[:, 2] < 0.0) & (position[:, 1] > (-0.06 if long else -0.025)))
    return [face, covered.select(kept)]
