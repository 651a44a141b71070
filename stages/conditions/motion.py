"""How much of the driver's motion a face makes, and which parts of it: what users write, as numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from stages.errors import UsageError

MOST = 2.0
"""Largest strength."""
PARTS = ("mouth", "eyes", "gaze", "pose")
NAMES: Mapping[str, tuple[str, ...]] = {"expression": ("mouth", "eyes"), **{part: (part,) for part in PARTS}}
"""What can have a strength of its own -> its parts."""
FOLLOWERS: Mapping[str, tuple[str, ...]] = {"all": PARTS, **NAMES, "eyes": ("eyes", "gaze")}
"""What can be the only part that follows the driver -> its parts: eyes look where the driver looks."""

Origin = Literal["auto", "absolute", "relative"]
"""Whether the face looks as the driver's does, or moves from the example's as the driver's does. auto: see `Motion.of_photograph`."""


@dataclass(frozen=True)
class Motion:
    """The strength of each part, from 0 to `MOST`: 0 is as in the example, 1 as the driver does it, more is exaggerated."""

    mouth: float = 1.0
    """Lips, jaw and nose."""
    eyes: float = 1.0
    """Lids and brows."""
    gaze: float = 1.0
    """Irises."""
    pose: float = 1.0
    """Rotation, tilt, size and place of the head."""
    relative: frozenset[str] = frozenset()
    """Parts that move away from the example's as far as the driver's do from the driving frames that are most like the example. The others
    look as the driver's at strength 1."""

    @classmethod
    def parse(cls, strength: str | float = "", part: str = "", origin: Origin = "absolute") -> Motion:
        """strength: a number for all parts, or NAME=NUMBER, or both, as in "0.5,mouth=1.2"; the more exact name counts. part: the names of
        the only parts that follow the driver, separated by commas. Raises UsageError for anything else, and for a part that is to follow
        with a strength of its own though it is not among them.
        """
        given = _numbers(str(strength))
        followers = _followers(part)
        values = {}
        for each in PARTS:
            names = [name for name in (each, "expression") if name in given and each in NAMES[name]]
            if names and each not in followers and given[names[0]]:
                raise UsageError(f"{names[0]} has a strength, but only {part} follows the driver", hint="Leave one of them out")
            values[each] = given[[*names, ""][0]] if each in followers else 0.0
        return cls(**values, relative=frozenset(PARTS if origin == "relative" else ()))

    def of_photograph(self) -> Motion:
        """The same, but the head moves from the pose that it has in the photograph, where the body stays as it is."""
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
        """Parts whose motion is measured from the driving frames that are most like the example: relative and exaggerated ones."""
        return frozenset(part for part, value in self.strengths.items() if value > 1 or (value and part in self.relative))

    def recorded(self) -> dict[str, str]:
        """What enters the key of an output; nothing for the default."""
        strengths, relative = self.strengths, [part for part in PARTS if part in self.relative]
        told = {"motion": "relative" if len(relative) == len(PARTS) else f"relative {','.join(relative)}"} if relative else {}
        if any(value != 1 for value in strengths.values()):
            told["strength"] = ",".join(f"{part}={value:g}" for part, value in strengths.items())
        return told


UNCHANGED = Motion()


def _numbers(text: str) -> dict[str, float]:
    """name -> strength; that of "" is for all that have none."""
    found: dict[str, float] = {}
    for term in text.split(",") if text else ():
        name, equals, number = (piece.strip() for piece in term.rpartition("="))
        if equals and name not in NAMES:
            raise UsageError(f"{name!r} is no part of a face that moves", hint=f"There are {', '.join(NAMES)}")
        if name in found:
            raise UsageError(f"{name or 'the whole face'} has two strengths in {text!r}", hint="Leave one of them out")
        found[name] = _number(number, text)
    return {"": 1.0, **found}


def _number(number: str, text: str) -> float:
    try:
        value = float(number)
    except ValueError:
        hint = "Write a number, such as 0.6, or one for each part, such as pose=0.6,mouth=1.2"
        raise UsageError(f"{text!r} is not a strength", hint=hint) from None
    if not 0 <= value <= MOST:
        raise UsageError(f"a strength is from 0 to {MOST:g}, not {number}")
    return value


def _followers(text: str) -> set[str]:
    names = [name.strip() for name in text.split(",")] if text else ["all"]
    for name in names:
        if name not in FOLLOWERS:
            raise UsageError(f"{name!r} is no part of a face that can follow the driver", hint=f"There are {', '.join(FOLLOWERS)}")
    return {part for name in names for part in FOLLOWERS[name]}
