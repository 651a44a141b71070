"""The skeleton of an actor: random proportions, forward kinematics and BODY_25 keypoints.

Lengths are in metres: x points to the right of the image, y up, z towards the camera. At rest the actor faces the camera, so that the left
side of the body is at +x; arms and legs are slightly spread. Angles are in degrees, [..., bones, 3]: bend, twist, side (see `rotations`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

BONES = (
    "pelvis", "abdomen", "chest", "neck", "head",
    "left clavicle", "left upper arm", "left forearm", "left hand", "right clavicle", "right upper arm", "right forearm", "right hand",
    "left thigh", "left shin", "left foot", "right thigh", "right shin", "right foot",
)  # fmt: skip
PARENTS = (-1, 0, 1, 2, 3, 2, 5, 6, 7, 2, 9, 10, 11, 0, 13, 14, 0, 16, 17)
BONE = {name: index for index, name in enumerate(BONES)}
SIDES = {"left": 1.0, "right": -1.0}
ARM_SPREAD, LEG_SPREAD = 42.0, 7.0
"""Angle of the limbs from the vertical at rest, in degrees. If all angles are 0, they hang straight down."""

_BENDS_BACK = ("upper arm", "forearm", "hand", "thigh", "foot")
_BEND_SIGN = np.array([-1.0 if name.endswith(_BENDS_BACK) else 1.0 for name in BONES])
"""A positive bend is a flexion: the trunk bends forward, arms and thighs rise forward, knees fold back, toes rise."""
_SIDE_SIGN = np.array([-1.0 if name.startswith("right") else 1.0 for name in BONES])


@dataclass(frozen=True)
class Proportions:
    """The proportions of one subject.

    height: in metres. belly: size of a paunch, 0 for none. feminine: in [0, 1]; shapes head, arms, chest, waist and hips. The others are
    relative to the average.
    """

    height: float = 1.72
    build: float = 1.0
    legs: float = 1.0
    shoulders: float = 1.0
    hips: float = 1.0
    head: float = 1.0
    belly: float = 0.0
    feminine: float = 0.5


def draw_proportions(rng: np.random.Generator) -> Proportions:
    feminine = float(np.clip(rng.choice([0.12, 0.88]) + rng.normal() * 0.15, 0, 1))
    height = float(np.clip(rng.normal(1.78 - 0.13 * feminine, 0.075), 1.48, 2.0))
    build = float(np.clip(np.exp(rng.normal(0, 0.12)), 0.8, 1.4))
    return Proportions(
        height=height,
        build=build,
        legs=float(rng.uniform(0.96, 1.04)),
        shoulders=float(rng.normal(1.06 - 0.1 * feminine, 0.04)),
        hips=float(rng.normal(0.97 + 0.07 * feminine, 0.03)),
        head=float(np.clip(rng.normal(1.06, 0.04), 0.95, 1.2)),
        belly=float(max(0.0, rng.normal(1.6 * (build - 0.95), 0.25))),
        feminine=feminine,
    )


class Skeleton:
    """The skeleton at rest. joints [bones, 3]: the start of each bone. at: these and further points by name, for shapes and keypoints."""

    def __init__(self, proportions: Proportions) -> None:
        p, h = proportions, proportions.height
        self.proportions = p
        self.head_height = 0.132 * h * p.head
        hip, trunk = 0.505 * p.legs * h, 0.325 * h
        at: dict[str, Array] = {
            "pelvis": np.array([0, hip + 0.018 * h, 0]),
            "abdomen": np.array([0, hip + 0.075 * h, 0]),
            "chest": np.array([0, hip + 0.165 * h, -0.005 * h]),
            "neck": np.array([0, hip + trunk, -0.008 * h]),
            "head": np.array([0, hip + trunk + 0.05 * h, 0.002 * h]),
        }
        for side, sign in SIDES.items():
            self._limbs(at, side, sign, hip, hip + trunk - 0.022 * h)
        self.at = at
        self.joints = np.stack([at[name] for name in BONES])
        self.skull = at["head"] + np.array([0, 0.42 * self.head_height, 0.03 * self.head_height])
        self._keypoints = self._rest_keypoints()

    def _limbs(self, at: dict[str, Array], side: str, sign: float, hip: float, shoulder: float) -> None:
        p, h = self.proportions, self.proportions.height
        down = direction(sign, ARM_SPREAD)
        at[f"{side} clavicle"] = np.array([sign * 0.02 * h, shoulder, 0])
        at[f"{side} upper arm"] = np.array([sign * 0.107 * h * p.shoulders, shoulder, -0.006 * h])
        at[f"{side} forearm"] = at[f"{side} upper arm"] + 0.168 * h * down
        at[f"{side} hand"] = at[f"{side} forearm"] + 0.147 * h * down
        at[f"{side} fingertips"] = at[f"{side} hand"] + 0.102 * h * down
        leg = direction(sign, LEG_SPREAD)
        length = (hip - 0.044 * h) / -leg[1]
        at[f"{side} thigh"] = np.array([sign * 0.051 * h * p.hips, hip, 0])
        at[f"{side} shin"] = at[f"{side} thigh"] + 0.51 * length * leg + [0, 0, 0.006 * h]
        at[f"{side} foot"] = at[f"{side} thigh"] + length * leg - [0, 0, 0.008 * h]
        ankle = at[f"{side} foot"]
        for name, across, y, z in (("big toe", -0.012, 0.014, 0.098), ("small toe", 0.02, 0.012, 0.08), ("heel", 0.0, 0.014, -0.026)):
            at[f"{side} {name}"] = np.array([ankle[0] + sign * across * h, y * h, ankle[2] + z * h])

    def _rest_keypoints(self) -> list[tuple[str, Array]]:
        """(bone, position at rest) of each joint of BODY_25."""
        at, unit, skull = self.at, self.head_height, self.skull
        face = [("head", skull + unit * np.array([x, y, z])) for x, y, z in ((0, -0.15, 0.46), (-0.14, 0.0, 0.38), (0.14, 0.0, 0.38))]
        ears = [("head", skull + unit * np.array([x, -0.05, -0.02])) for x in (-0.33, 0.33)]
        arms = [[(f"{side} {part}", at[f"{side} {part}"]) for part in ("upper arm", "forearm", "hand")] for side in ("right", "left")]
        legs = [[(f"{side} {part}", at[f"{side} {part}"]) for part in ("thigh", "shin", "foot")] for side in ("right", "left")]
        feet = [[(f"{side} foot", at[f"{side} {part}"]) for part in ("big toe", "small toe", "heel")] for side in ("left", "right")]
        return [
            face[0],
            ("neck", at["neck"]),
            *arms[0],
            *arms[1],
            ("pelvis", at["pelvis"]),
            *legs[0],
            *legs[1],
            *face[1:],
            *ears,
            *feet[0],
            *feet[1],
        ]

    def pose(self, angles: Array, yaw: Array, position: Array, planted: Array, lift: Array) -> Array:
        """Skinning matrices [T, bones, 3, 4] from rest to world.

        angles [T, bones, 3]; yaw [T]: rotation about the vertical in degrees; position [T, 2] on the floor (x, z).
        lift [T]: height of the lowest point of the feet. planted [T]: 1 keeps the feet at the position, 0 the pelvis.
        """
        world = self._chain(angles, yaw)
        soles = self.positions_of(world, [f"{side} {part}" for side in SIDES for part in ("big toe", "small toe", "heel")], "foot")
        low = soles[..., 1].reshape(len(angles), 2, 3).min(-1)  # [T, 2]: lowest point of each foot
        share = np.exp(-(low - low.min(1, keepdims=True)) / 0.05)
        stand = (soles.reshape(len(angles), 2, 3, 3).mean(2) * (share / share.sum(1, keepdims=True))[..., None]).sum(1)
        pelvis = world[:, 0] @ np.append(self.joints[0], 1)
        anchor = pelvis + planted[:, None] * (stand - pelvis)
        shift = np.stack(
            [position[:, 0] - anchor[:, 0], lift + 0.012 * self.proportions.height - low.min(1), position[:, 1] - anchor[:, 2]], -1
        )
        world[..., 3] += shift[:, None]
        return world

    def positions_of(self, world: Array, points: list[str], part: str) -> Array:
        """World positions [T, points, 3] of named points, which move with the bone `part` of their side."""
        bones = [BONE[f"{point.split()[0]} {part}"] for point in points]
        rest = np.stack([np.append(self.at[point], 1) for point in points])
        return np.einsum("tmij,mj->tmi", world[:, bones], rest)

    def keypoints(self, world: Array) -> Array:
        """World positions [T, 25, 3] of BODY_25. As in detectors, neck and mid hip are midway between the shoulders and the hips."""
        rest = np.stack([np.append(position, 1) for _, position in self._keypoints])
        points = np.einsum("tkij,kj->tki", world[:, [BONE[bone] for bone, _ in self._keypoints]], rest)
        for middle, sides in ((1, (2, 5)), (8, (9, 12))):
            points[:, middle] = points[:, sides].mean(1)
        return np.asarray(points)

    def _chain(self, angles: Array, yaw: Array) -> Array:
        """Skinning matrices [T, bones, 3, 4] with the pelvis at its position at rest (forward kinematics)."""
        turns = rotations(angles)
        for side, sign in SIDES.items():
            for part, spread in (("upper arm", ARM_SPREAD), ("thigh", LEG_SPREAD)):
                bone = BONE[f"{side} {part}"]
                turns[:, bone] = turns[:, bone] @ rotation_about("z", np.array(-sign * spread))
            foot = BONE[f"{side} foot"]
            turns[:, foot] = rotation_about("z", np.array(sign * LEG_SPREAD)) @ turns[:, foot]
        turns[:, 0] = rotation_about("y", yaw) @ turns[:, 0]
        world = np.zeros((*turns.shape[:2], 3, 4))
        origins = np.zeros((*turns.shape[:2], 3))
        for bone, parent in enumerate(PARENTS):
            if parent < 0:
                world[:, bone, :, :3], origins[:, bone] = turns[:, bone], self.joints[bone]
            else:
                offset = self.joints[bone] - self.joints[parent]
                origins[:, bone] = origins[:, parent] + world[:, parent, :, :3] @ offset
                world[:, bone, :, :3] = world[:, parent, :, :3] @ turns[:, bone]
        world[..., 3] = origins - np.einsum("tbij,bj->tbi", world[..., :3], self.joints)
        return world


def direction(sign: float, spread: float) -> Array:
    """The unit vector down and outward by `spread` degrees. sign: 1 for the left side, -1 for the right."""
    return np.array([sign * np.sin(np.radians(spread)), -np.cos(np.radians(spread)), 0.0])


def rotations(angles: Array) -> Array:
    """Rotation matrices [T, bones, 3, 3] from angles [T, bones, 3]: first twist about the limb, then bend, then side.

    A positive side moves limbs outward, and trunk and head towards -x.
    """
    bend, twist, side = np.moveaxis(angles, -1, 0)
    return rotation_about("z", side * _SIDE_SIGN) @ rotation_about("x", bend * _BEND_SIGN) @ rotation_about("y", twist * _SIDE_SIGN)


def rotation_about(axis: str, degrees: Array) -> Array:
    """Right-handed rotation matrices [..., 3, 3] about an axis."""
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    matrix = np.zeros((*np.shape(degrees), 3, 3))
    i, j = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    k = 3 - i - j
    matrix[..., i, i], matrix[..., j, j], matrix[..., k, k] = cosine, cosine, 1
    matrix[..., i, j], matrix[..., j, i] = -sine, sine
    return matrix
