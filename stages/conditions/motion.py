"""The strength with which each part of a face follows the driver, and how users write it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from stages.errors import UsageError

MAX_STRENGTH = 2.0
PARTS = ("mouth", "eyes", "gaze", "pose")
NAMES: Mapping[str, tuple[str, ...]] = {"expression": ("mouth", "eyes"), **{part: (part,) for part in PARTS}}
"""Name that can have a strength of its own -> the parts that it stands for."""
FOLLOWERS: Mapping[str, tuple[str, ...]] = {"all": PARTS, **NAMES, "eyes": ("eyes", "gaze")}
"""Name that users can give as the only part that follows the driver -> the parts that it stands for. Eyes include the gaze."""

Origin = Literal["auto", "absolute", "relative"]
"""absolute: the face takes the driver's pose and expression. relative: it changes from the example as the driver changes from the frames
that are most like the example. auto: `SynthesizeOptions.motion_of` decides; in most cases it is absolute."""


@dataclass(frozen=True)
class Motion:
    """The strength of each part, from 0 to `MAX_STRENGTH`: 0 as in the example, 1 as the driver moves, above 1 exaggerated."""

    mouth: float = 1.0
    """Lips, jaw and nose."""
    eyes: float = 1.0
    """Lids and brows."""
    gaze: float = 1.0
    """Irises."""
    pose: float = 1.0
    """Rotation, tilt, size and place of the head."""
    relative: frozenset[str] = frozenset()
    """Parts that, at strength 1, differ from the example as the driver differs from the driving frames that are most like the example. The
    others have the driver's pose and expression."""

    @classmethod
    def parse(cls, strength: str | float = "", part: str = "", origin: Origin = "absolute") -> Motion:
        """The motion that a user asks for.

        strength: a number for all parts, NAME=NUMBER, or both, as in "0.5,mouth=1.2". The strength of "mouth" overrides that of
        "expression", and this overrides the number for all parts. part: names of the only parts that follow the driver, separated by
        commas; empty: all parts. Raises UsageError for any other text, and if a part has a strength of its own but is not in `part`.
        """
        strengths = _parse_strengths(str(strength))
        followers = _parse_followers(part)
        values = {}
        for face_part in PARTS:
            names = [name for name in (face_part, "expression") if name in strengths and face_part in NAMES[name]]
            if names and face_part not in followers and strengths[names[0]]:
                raise UsageError(f"{names[0]} has a strength, but only {part} follows the driver", hint="Leave one of them out")
            values[face_part] = strengths[[*names, ""][0]] if face_part in followers else 0.0
        return cls(**values, relative=frozenset(PARTS if origin == "relative" else ()))

    def with_relative_pose(self) -> Motion:
        """The same motion with a relative pose. In a photograph whose body does not move, the head then stays fitted to the body."""
        return replace(self, relative=self.relative | {"pose"})

    @property
    def unchanged(self) -> bool:
        """Whether the driver's landmarks stay as they are."""
        return self == UNCHANGED

    @property
    def strengths(self) -> dict[str, float]:
        """The strength of each part."""
        return {part: getattr(self, part) for part in PARTS}

    @property
    def from_reference(self) -> frozenset[str]:
        """Parts whose motion depends on the driving frames that are most like the example: relative and exaggerated ones."""
        return frozenset(part for part, value in self.strengths.items() if value > 1 or (value and part in self.relative))

    def key_entries(self) -> dict[str, str]:
        """Entries for the key of an output; none for the default motion."""
        strengths, relative = self.strengths, [part for part in PARTS if part in self.relative]
        entries = {"motion": "relative" if len(relative) == len(PARTS) else f"relative {','.join(relative)}"} if relative else {}
        if any(value != 1 for value in strengths.values()):
            entries["strength"] = ",".join(f"{part}={value:g}" for part, value in strengths.items())
        return entries


UNCHANGED = Motion()


def _parse_strengths(text: str) -> dict[str, float]:
    """Name -> strength. The name "" stands for all parts without a strength of their own."""
    strengths: dict[str, float] = {}
    for term in text.split(",") if text else ():
        name, equals, number = (piece.strip() for piece in term.rpartition("="))
        if equals and name not in NAMES:
            raise UsageError(f"{name!r} is no part of a face that moves", hint=f"There are {', '.join(NAMES)}")
        if name in strengths:
            raise UsageError(f"{name or 'the whole face'} has two strengths in {text!r}", hint="Leave one of them out")
        strengths[name] = _parse_number(number, text)
    return {"": 1.0, **strengths}


def _parse_number(number: str, text: str) -> float:
    try:
        value = float(number)
    except ValueError:
        hint = "Write a number, such as 0.6, or one for each part, such as pose=0.6,mouth=1.2"
        raise UsageError(f"{text!r} is not a strength", hint=hint) from None
    if not 0 <= value <= MAX_STRENGTH:
        raise UsageError(f"a strength is from 0 to {MAX_STRENGTH:g}, not {number}")
    return value


def _parse_followers(text: str) -> set[str]:
    names = [name.strip() for name in text.split(",")] if text else ["all"]
    for name in names:
        if name not in FOLLOWERS:
            raise UsageError(f"{name!r} is no part of a face that can follow the driver", hint=f"There are {', '.join(FOLLOWERS)}")
    return {part for name in names for part in FOLLOWERS[name]}
