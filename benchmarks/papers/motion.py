"""Random motion of the actors: smooth curves of joint angles over time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from body import BONE, BONES, Array

BEND, TWIST, SIDE = range(3)
BLEND_SECONDS = 0.5
"""Duration of the transition between two actions."""


@dataclass
class Motion:
    """The motion of one actor over T frames; see `Skeleton.pose`."""

    angles: Array
    """Degrees, [T, bones, 3]: BEND, TWIST and SIDE."""
    yaw: Array
    """Degrees, [T]."""
    position: Array
    """x and z on the floor in metres, [T, 2]."""
    planted: Array
    """1 keeps the feet at the position, 0 the pelvis, [T]."""
    lift: Array
    """Height of the feet above the floor in metres, [T]."""
    description: str = ""

    @staticmethod
    def still(length: int) -> Motion:
        zero = np.zeros(length)
        return Motion(np.zeros((length, len(BONES), 3)), zero.copy(), np.zeros((length, 2)), np.ones(length), zero.copy())

    def rotate(self, part: str, axis: int, degrees: Array | float) -> None:
        """Add degrees to an angle of a bone ("left forearm"), or of the bones on both sides ("forearm"). axis: BEND, TWIST or SIDE."""
        for name in [part] if part in BONE else [f"left {part}", f"right {part}"]:
            self.angles[:, BONE[name], axis] += degrees


Action = Callable[[Motion, Array, np.random.Generator], None]
"""A function that adds an action to a motion. Arguments: the motion, the times of its frames [T] in seconds, the random generator."""


def draw_motion(rng: np.random.Generator, length: int, fps: float, height: float) -> Motion:
    """The motion of a clip: a sequence of actions with smooth transitions, a facing direction that may change, and small movements.

    length: number of frames. height: of the actor in metres.
    """
    time = np.arange(length) / fps
    seconds = float(time[-1]) if length > 1 else 1.0
    count = int(np.clip(1 + rng.poisson(seconds / 3.0), 1, 1 + int(seconds / 1.2)))
    names = [
        str(name)
        for name in rng.choice(
            list(ACTIONS), count, p=np.array([weight for _, weight in ACTIONS.values()]) / sum(weight for _, weight in ACTIONS.values())
        )
    ]
    borders = np.linspace(0, seconds, count + 1)[1:-1] + rng.uniform(-0.2, 0.2, count - 1)
    total = _perform(names[0], time, rng)
    for border, name in zip(borders, names[1:], strict=True):
        share = _smooth((time - border) / BLEND_SECONDS + 0.5)
        total = _blend(total, _perform(name, time, rng), share)
    _add_facing(total, time, rng)
    _add_fidgeting(total, time, rng)
    total.position *= height / 1.75
    total.description = " then ".join(names)
    return total


def _perform(name: str, time: Array, rng: np.random.Generator) -> Motion:
    """An action alone, with a random posture."""
    motion = Motion.still(len(time))
    _add_posture(motion, rng)
    ACTIONS[name][0](motion, time, rng)
    return motion


def _blend(one: Motion, other: Motion, share: Array) -> Motion:
    """Both motions mixed by the share [T] of the other one."""

    def mix(a: Array, b: Array) -> Array:
        return a + (b - a) * share.reshape(-1, *[1] * (a.ndim - 1))

    return Motion(
        mix(one.angles, other.angles),
        mix(one.yaw, other.yaw),
        mix(one.position, other.position),
        mix(one.planted, other.planted),
        mix(one.lift, other.lift),
    )


def _add_posture(motion: Motion, rng: np.random.Generator) -> None:
    """Add a random posture, constant over the action."""
    motion.rotate("upper arm", SIDE, rng.uniform(5, 14))
    motion.rotate("upper arm", BEND, rng.normal(0, 5))
    motion.rotate("upper arm", TWIST, rng.uniform(-25, 5))
    motion.rotate("forearm", BEND, rng.uniform(8, 28))
    motion.rotate("hand", SIDE, rng.uniform(-8, 2))
    motion.rotate("thigh", SIDE, rng.uniform(2, 8))
    motion.rotate("thigh", TWIST, rng.uniform(2, 12))
    motion.rotate("abdomen", BEND, rng.normal(0, 3))
    motion.rotate("head", BEND, rng.normal(0, 5))


def _add_facing(motion: Motion, time: Array, rng: np.random.Generator) -> None:
    """Add the facing direction: mostly towards the camera, sometimes away from it, constant, swinging or turning."""
    motion.yaw += rng.normal(0, 28) if rng.random() < 0.8 else rng.uniform(-180, 180)
    kind = rng.random()
    seconds = max(float(time[-1]), 0.5)
    if kind < 0.22:
        whole = min(rng.uniform(120, 360), 110 * seconds)
        motion.yaw += rng.choice([-1, 1]) * whole * _smooth(time / seconds)
    elif kind < 0.6:
        motion.yaw += rng.uniform(10, 45) * np.sin(rng.uniform(0.6, 2.2) * time + rng.uniform(0, 6))
    motion.rotate("head", TWIST, rng.uniform(0, 35) * np.sin(rng.uniform(0.5, 1.8) * time + rng.uniform(0, 6)))
    motion.position += rng.normal(0, 0.1, 2) * (0.4, 1.5)


def _add_fidgeting(motion: Motion, time: Array, rng: np.random.Generator) -> None:
    """Add small, slow movements of all joints except the feet."""
    reach = np.where([name.endswith("foot") for name in BONES], 0, rng.uniform(1, 3.5))
    for _ in range(2):
        speed, start = rng.uniform(0.8, 4, (len(BONES), 3)), rng.uniform(0, 6.3, (len(BONES), 3))
        motion.angles += reach[:, None] * rng.normal(size=(len(BONES), 3)) * 0.6 * np.sin(time[:, None, None] * speed + start)


def _walk(motion: Motion, time: Array, rng: np.random.Generator) -> None:
    pace, step = 2 * np.pi * rng.uniform(0.7, 1.15), rng.uniform(18, 30)
    phase = pace * time + rng.uniform(0, 6.3)
    for side, shift in (("left", 0.0), ("right", np.pi)):
        swing = np.sin(phase + shift)
        motion.rotate(f"{side} thigh", BEND, step * swing + 6)
        motion.rotate(f"{side} shin", BEND, 8 + 46 * np.clip(np.sin(phase + shift + 0.9 + np.pi / 2), 0, 1) ** 1.5)
        motion.rotate(f"{side} foot", BEND, 12 * np.sin(phase + shift + 0.6))
        motion.rotate(f"{side} upper arm", BEND, -0.9 * step * swing)
        motion.rotate(f"{side} forearm", BEND, 12 - 10 * swing)
    motion.rotate("pelvis", TWIST, 6 * np.sin(phase))
    motion.rotate("chest", TWIST, -11 * np.sin(phase))
    motion.rotate("pelvis", SIDE, 3 * np.cos(phase))
    motion.rotate("abdomen", BEND, 3)
    motion.planted *= 0
    motion.lift += 0.012 * (1 - np.cos(2 * phase))
    motion.position[:, 0] += rng.uniform(0, 0.22) * np.sin(0.9 * time + rng.uniform(0, 6.3))
    motion.position[:, 1] += rng.uniform(0, 0.35) * np.sin(0.8 * time + rng.uniform(0, 6.3))


def _wave(motion: Motion, time: Array, rng: np.random.Generator) -> None:
    side = str(rng.choice(["left", "right"]))
    motion.rotate(f"{side} upper arm", SIDE, rng.uniform(45, 110))
    motion.rotate(f"{side} upper arm", TWIST, rng.uniform(60, 100))
    motion.rotate(f"{side} forearm", BEND, rng.uniform(55, 90) + rng.uniform(15, 30) * np.sin(rng.uniform(5, 9) * time))
    motion.rotate("abdomen", SIDE, rng.normal(0, 5))


def _dance(motion: Motion, time: Array, rng: np.random.Generator) -> None:
    beat = 2 * np.pi * rng.uniform(0.5, 1.1) * time + rng.uniform(0, 6.3)
    for side, shift in (("left", 0.0), ("right", rng.choice([0.0, np.pi, np.pi / 2]))):
        motion.rotate(f"{side} upper arm", SIDE, rng.uniform(10, 60) * (1 + np.sin(beat + shift)))
        motion.rotate(f"{side} upper arm", BEND, rng.uniform(0, 45) * (1 + np.sin(beat + shift + rng.uniform(0, 3))))
        motion.rotate(f"{side} upper arm", TWIST, rng.uniform(0, 60) * np.sin(beat / 2 + shift))
        motion.rotate(f"{side} forearm", BEND, rng.uniform(20, 50) * (1 + np.sin(2 * beat + shift)))
        bob = rng.uniform(6, 18) * (1 + np.sin(2 * beat + 0.4 * shift))
        motion.rotate(f"{side} thigh", BEND, bob)
        motion.rotate(f"{side} shin", BEND, 2 * bob)
        motion.rotate(f"{side} foot", BEND, bob)
        motion.rotate(f"{side} thigh", SIDE, 5)
    motion.rotate("pelvis", SIDE, rng.uniform(4, 12) * np.sin(beat))
    motion.rotate("abdomen", SIDE, -rng.uniform(4, 12) * np.sin(beat + 0.4))
    motion.rotate("chest", TWIST, rng.uniform(5, 20) * np.sin(beat))
    motion.rotate("head", SIDE, 7 * np.sin(beat))
    motion.yaw += rng.uniform(0, 30) * np.sin(beat / 2)


def _squat(motion: Motion, time: Array, rng: np.random.Generator) -> None:
    depth = rng.uniform(30, 62) * (0.5 - 0.5 * np.cos(2 * np.pi * rng.uniform(0.35, 0.7) * time + rng.uniform(0, 6)))
    motion.rotate("thigh", BEND, 1.3 * depth)
    motion.rotate("thigh", SIDE, 0.22 * depth)
    motion.rotate("shin", BEND, 2.0 * depth)
    motion.rotate("foot", BEND, 0.7 * depth)
    motion.rotate("pelvis", BEND, 0.45 * depth)
    motion.rotate("upper arm", BEND, rng.uniform(0.4, 1.5) * depth)


def _jacks(motion: Motion, time: Array, rng: np.random.Generator) -> None:
    phase = 2 * np.pi * rng.uniform(0.7, 1.2) * time + rng.uniform(0, 6)
    out = 0.5 - 0.5 * np.cos(phase)
    motion.rotate("upper arm", SIDE, rng.uniform(90, 150) * out)
    motion.rotate("thigh", SIDE, rng.uniform(14, 24) * out)
    motion.rotate("thigh", BEND, 8 * np.sin(phase) ** 2)
    motion.rotate("shin", BEND, 16 * np.sin(phase) ** 2)
    motion.lift += 0.06 * np.sin(phase) ** 2
    motion.planted *= 0


def _bow(motion: Motion, time: Array, rng: np.random.Generator) -> None:
    share = 0.5 - 0.5 * np.cos(2 * np.pi * rng.uniform(0.25, 0.6) * time + rng.uniform(0, 6))
    motion.rotate("pelvis", BEND, rng.uniform(15, 55) * share)
    motion.rotate("abdomen", BEND, rng.uniform(5, 25) * share)
    motion.rotate("abdomen", SIDE, rng.uniform(-25, 25) * share)
    lean = motion.angles[:, 0, BEND].copy()
    motion.rotate("thigh", BEND, lean)
    motion.rotate("upper arm", BEND, rng.uniform(0, 70) * share)
    motion.rotate("upper arm", SIDE, rng.uniform(0, 60) * share)


def _box(motion: Motion, time: Array, rng: np.random.Generator) -> None:
    phase = 2 * np.pi * rng.uniform(0.7, 1.4) * time
    motion.rotate("thigh", BEND, 14)
    motion.rotate("shin", BEND, 24)
    motion.rotate("foot", BEND, 10)
    for side, shift in (("left", 0.0), ("right", np.pi)):
        hit = np.clip(np.sin(phase + shift), 0, 1) ** 2
        motion.rotate(f"{side} upper arm", BEND, 25 + 55 * hit)
        motion.rotate(f"{side} upper arm", TWIST, -20)
        motion.rotate(f"{side} forearm", BEND, 105 - 95 * hit)
    motion.rotate("chest", TWIST, 18 * np.sin(phase))
    motion.yaw += rng.uniform(-40, 40)


def _stretch(motion: Motion, time: Array, rng: np.random.Generator) -> None:
    """Arms up or wide, leaning from side to side."""
    share = _smooth(time / rng.uniform(0.6, 1.4)) * (0.75 + 0.25 * np.sin(rng.uniform(1, 3) * time))
    motion.rotate("upper arm", SIDE, rng.uniform(70, 155) * share)
    motion.rotate("upper arm", TWIST, rng.uniform(-10, 60) * share)
    motion.rotate("forearm", BEND, rng.uniform(0, 60) * share)
    motion.rotate("abdomen", SIDE, rng.uniform(5, 22) * np.sin(rng.uniform(1.2, 3) * time))


def _akimbo(motion: Motion, time: Array, rng: np.random.Generator) -> None:
    """Hands on the hips, turning the trunk."""
    motion.rotate("upper arm", SIDE, 32)
    motion.rotate("upper arm", TWIST, -72)
    motion.rotate("upper arm", BEND, -18)
    motion.rotate("forearm", BEND, 78)
    motion.rotate("chest", TWIST, rng.uniform(10, 30) * np.sin(rng.uniform(1.2, 3) * time))
    motion.rotate("pelvis", SIDE, rng.uniform(2, 9) * np.sin(rng.uniform(1, 2.5) * time))


def _kick(motion: Motion, time: Array, rng: np.random.Generator) -> None:
    side = str(rng.choice(["left", "right"]))
    share = np.clip(np.sin(2 * np.pi * rng.uniform(0.35, 0.7) * time + rng.uniform(0, 6)), 0, 1) ** 1.5
    motion.rotate(f"{side} thigh", BEND, rng.uniform(30, 85) * share)
    motion.rotate(f"{side} thigh", SIDE, rng.uniform(0, 25) * share)
    motion.rotate(f"{side} shin", BEND, rng.uniform(0, 80) * share)
    motion.rotate("upper arm", SIDE, rng.uniform(10, 60) * share)
    motion.rotate("pelvis", BEND, -8 * share)


def _gesture(motion: Motion, time: Array, rng: np.random.Generator) -> None:
    """Talking with both hands."""
    for side in ("left", "right"):
        speed, start = rng.uniform(1.5, 4, 4), rng.uniform(0, 6.3, 4)
        waves = np.sin(time[:, None] * speed + start)
        motion.rotate(f"{side} upper arm", BEND, rng.uniform(10, 40) + 14 * waves[:, 0])
        motion.rotate(f"{side} upper arm", SIDE, 8 + 10 * waves[:, 1])
        motion.rotate(f"{side} upper arm", TWIST, rng.uniform(-35, 25) + 22 * waves[:, 2])
        motion.rotate(f"{side} forearm", BEND, rng.uniform(45, 85) + 28 * waves[:, 3])


def _idle(motion: Motion, time: Array, rng: np.random.Generator) -> None:
    sway = np.sin(rng.uniform(0.8, 1.8) * time + rng.uniform(0, 6))
    motion.rotate("pelvis", SIDE, rng.uniform(2, 6) * sway)
    motion.rotate("abdomen", SIDE, -5 * sway)


ACTIONS: dict[str, tuple[Action, float]] = {
    "walking": (_walk, 2.2), "waving": (_wave, 1.2), "dancing": (_dance, 2.4), "squatting": (_squat, 0.8), "jumping jacks": (_jacks, 0.8),
    "bowing": (_bow, 0.8), "boxing": (_box, 0.8), "stretching": (_stretch, 1.0), "hands on hips": (_akimbo, 0.7), "kicking": (_kick, 0.7),
    "talking": (_gesture, 1.5), "standing": (_idle, 0.6),
}  # fmt: skip
"""name -> (the action, its relative frequency)."""


def _smooth(share: Array) -> Array:
    """A smooth step from 0 to 1 for shares from 0 to 1."""
    share = np.clip(share, 0, 1)
    return share * share * (3 - 2 * share)
