"""The shapes of an actor's body, limb by limb. Clothes are the same shapes with larger radii."""

from __future__ import annotations

import numpy as np
from body import Array, Skeleton
from shapes import Ball, Loft, Shape, Solid

_ARM = ((0.036, 0.033, 0.0305, 0.027, 0.025), (0.026, 0.0275, 0.0245, 0.019, 0.016))
_LEG = ((0.054, 0.055, 0.049, 0.042, 0.036, 0.032), (0.031, 0.034, 0.0335, 0.028, 0.022, 0.019))
_TRUNK_WIDTHS = (0.066, 0.094, 0.094, 0.085, 0.078, 0.082, 0.09, 0.094, 0.086, 0.045)
_TRUNK_DEPTHS = (0.05, 0.066, 0.066, 0.06, 0.055, 0.057, 0.062, 0.063, 0.052, 0.036)
"""Relative to the body height: radii along upper arm and forearm, and along thigh and shin; half-axes of the trunk from crotch to neck."""


class Anatomy:
    """The shapes around one skeleton at rest. Lengths are in metres.

    ease: distance between cloth and body, which is added to all radii; 0 for the body itself. reach: where a limb ends, in segments from
    its start: 1 is the elbow or knee, 2 the wrist or ankle. flare: distance that is added to the ease at the end of a sleeve or trouser
    leg. build: breadth relative to the average. feminine: in [0, 1].
    """

    def __init__(self, skeleton: Skeleton) -> None:
        self.skeleton = skeleton
        self.at = skeleton.at
        self.height = skeleton.proportions.height
        self.head_height = skeleton.head_height
        self.feminine = skeleton.proportions.feminine
        self.build = skeleton.proportions.build

    def trunk(self, ease: float = 0.0, loose: float = 0.0) -> list[Shape]:
        """The trunk from crotch to neck. loose: from 0, cloth that follows the waist, to 1, cloth that hangs straight."""
        p, h, f = self.skeleton.proportions, self.height, self.feminine
        stations = np.linspace(0, 1, len(_TRUNK_WIDTHS))
        shoulders = 1 + (p.shoulders - 1) * np.clip((stations - 0.5) / 0.3, 0, 1)
        hips = 1 + (p.hips - 1) * np.clip((0.45 - stations) / 0.25, 0, 1)
        waist = 1 - 0.13 * (f - 0.4) * np.exp(-(((stations - 0.47) / 0.16) ** 2))
        girth = 1 + (self.build - 1) * (1 - 0.75 * stations**3)
        widths = np.array(_TRUNK_WIDTHS) * shoulders * hips * waist * girth
        depths = np.array(_TRUNK_DEPTHS) * girth * (1 + 0.05 * (f - 0.5) * (stations < 0.3))
        looseness = np.where((stations > 0.05) & (stations < 0.85), loose, 0)
        widths = widths + looseness * np.maximum(0.97 * widths[:-1].max() - widths, 0)
        depths = depths + looseness * np.maximum(0.95 * depths.max() - depths, 0)
        low, high = self.at["pelvis"] - [0, 0.06 * h, 0], self.at["neck"] + [0, 0.004 * h, 0]
        shapes: list[Shape] = [Loft(low, high, (widths * h + ease).tolist(), (depths * h + ease).tolist())]
        belly = 0.012 * p.belly * h
        if belly > 0.004:
            shapes.append(
                Ball(self.at["abdomen"] + [0, 0.01 * h, 0.03 * h + belly], (0.075 * h + ease, 0.075 * h + ease, 0.04 * h + belly + ease))
            )
        for sign in (-1, 1):
            bust = self.at["chest"] + np.array([sign * 0.043 * h, 0.048 * h, 0.04 * h])
            swell = (0.018 + 0.018 * max(f - 0.4, 0)) * h * self.build
            shapes.append(Ball(bust, (0.035 * h + ease, 0.034 * h + ease, swell + ease)))
            seat = self.at["pelvis"] + np.array([sign * 0.045 * h, -0.03 * h, -0.03 * h])
            shapes.append(Ball(seat, (0.042 * h + ease, 0.05 * h + ease, (0.038 + 0.006 * f) * h * self.build + ease)))
        return shapes

    def yoke(self, ease: float = 0.0) -> list[Shape]:
        """The slopes from the neck to the shoulders."""
        h = self.height
        slopes: list[Shape] = [Loft(self.at["neck"] + [0, 0.012 * h, 0], self.at[f"{side} upper arm"] + [0, 0.004 * h, 0],
                      [0.028 * h + ease, 0.026 * h + ease, 0.03 * h + ease]) for side in ("left", "right")]  # fmt: skip
        return slopes

    def arm(self, side: str, ease: float = 0.0, reach: float = 2.0, flare: float = 0.0) -> list[Shape]:
        muscle = 1 + 0.16 * (0.5 - self.feminine) + 0.5 * (self.build - 1)
        joints = [self.at[f"{side} {part}"] for part in ("upper arm", "forearm", "hand")]
        return self._limb(joints, np.array(_ARM) * muscle, ease, reach, flare)

    def leg(self, side: str, ease: float = 0.0, reach: float = 2.0, flare: float = 0.0) -> list[Shape]:
        scale = 1 + 0.6 * (self.build - 1)
        joints = [self.at[f"{side} {part}"] for part in ("thigh", "shin", "foot")]
        return self._limb(joints, np.array(_LEG) * scale, ease, reach, flare)

    def _limb(self, joints: list[Array], radii: Array, ease: float, reach: float, flare: float) -> list[Shape]:
        """The segments of a limb up to `reach`. radii: [segments, n], relative to the body height. Cloth (ease > 0) has a flat end."""
        shapes: list[Shape] = []
        for index, (start, end) in enumerate(zip(joints, joints[1:], strict=False)):
            share = float(np.clip(reach - index, 0, 1))
            if share > 0.05:
                positions = np.linspace(0, share, radii.shape[1])
                widths = np.interp(positions, np.linspace(0, 1, radii.shape[1]), radii[index]) * self.height + ease
                widths = widths + flare * np.clip((index + positions) / reach, 0, 1) ** 2
                last = ease > 0 and reach <= index + 1
                shapes.append(Loft(start, start + share * (end - start), widths.tolist(), flat_ends=(False, last)))
        return shapes

    def hand(self, side: str, ease: float = 0.0) -> Solid:
        h, sign = self.height, 1.0 if side == "left" else -1.0
        wrist, tips = self.at[f"{side} hand"], self.at[f"{side} fingertips"]
        down = (tips - wrist) / np.linalg.norm(tips - wrist)
        knuckles = wrist + 0.055 * h * down
        inward = np.array([sign * down[1], -sign * down[0], 0.0])
        widths, depths = np.array([0.013, 0.02, 0.024, 0.024]) * h + ease, np.array([0.013, 0.012, 0.012, 0.01]) * h + ease
        shapes: list[Shape] = [Loft(wrist - 0.015 * h * down, knuckles, widths.tolist(), depths.tolist(), tuple(inward))]
        for finger, length in ((-1.5, 0.039), (-0.5, 0.045), (0.5, 0.047), (1.5, 0.041)):
            root = knuckles + [0, 0, finger * 0.0112 * h]
            curl = length * h * (0.93 * down + 0.3 * inward)
            shapes.append(
                Loft(root, root + curl + [0, 0, 0.1 * finger * 0.011 * h], [0.0066 * h + ease, 0.0054 * h + ease, 0.0042 * h + ease])
            )
        thumb = wrist + 0.016 * h * down + [0, 0, 0.014 * h]
        shapes.append(Loft(thumb, thumb + h * (0.034 * down + [0, 0, 0.024] + 0.008 * inward), [0.009 * h + ease, 0.0065 * h + ease]))
        return Solid(shapes, smooth=0.004)

    def head(self) -> Solid:
        u, skull, h = self.head_height, self.skeleton.skull, self.height
        masculine = 0.5 - self.feminine
        shapes: list[Shape] = [
            Ball(skull + u * np.array([0, 0.1, -0.07]), (0.35 * u, 0.40 * u, 0.43 * u)),
            Ball(skull + u * np.array([0, -0.12, 0.11]), ((0.29 + 0.02 * masculine) * u, 0.36 * u, 0.31 * u)),
            Ball(skull + u * np.array([0, -0.33, 0.18]), ((0.19 + 0.06 * masculine) * u, 0.165 * u, 0.2 * u)),
            Loft(skull + u * np.array([0, 0.0, 0.385]), skull + u * np.array([0, -0.14, 0.445]), [0.028 * u, 0.035 * u, 0.05 * u]),
            Loft(self.at["neck"] - [0, 0.035 * h, 0.004 * h], self.at["head"] + u * np.array([0, 0.15, -0.1]),
                 [(0.36 + 0.1 * masculine) * u, (0.25 + 0.08 * masculine) * u, (0.24 + 0.06 * masculine) * u]),
        ]  # fmt: skip
        for sign in (-1, 1):
            shapes.append(Ball(skull + u * np.array([sign * 0.345, -0.06, -0.03]), (0.045 * u, 0.12 * u, 0.075 * u)))
        sockets = [Ball(skull + u * np.array([sign * 0.14, 0.0, 0.455]), (0.09 * u, 0.05 * u, 0.06 * u)) for sign in (-1, 1)]
        return Solid(shapes, sockets, smooth=0.07 * u)

    def foot(self, side: str, ease: float = 0.0, shaft: float = 0.03) -> Solid:
        """A foot, or a shoe (ease > 0). shaft: height of its upper end above the ankle, relative to the body height."""
        h = self.height
        back, toe, ankle = self.at[f"{side} heel"], self.at[f"{side} big toe"], self.at[f"{side} foot"]
        tip = np.array([0.5 * (toe[0] + self.at[f"{side} small toe"][0]), 0.016 * h, toe[2] - 0.004 * h])
        widths, depths = np.array([0.021, 0.022, 0.026, 0.027, 0.02]) * h + ease, np.array([0.024, 0.026, 0.023, 0.018, 0.014]) * h + ease
        start = np.array([back[0], 0.022 * h, back[2] + 0.018 * h])
        shapes: list[Shape] = [Loft(start, tip, widths.tolist(), depths.tolist(), (0.0, 1.0, 0.0))]
        shapes.append(
            Loft(ankle - [0, 0.02 * h, 0], ankle + [0, shaft * h, 0], [0.024 * h + ease, 0.021 * h + ease], flat_ends=(False, ease > 0))
        )
        return Solid(shapes, min_height=0.0, smooth=0.03)
