"""Points of other tools as pixels of a clip's frames: some files hold shares of the picture's size, some pixels of a smaller picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from stages.clip.kinds import FARTHEST
from stages.clip.people import Person, arrays_of
from stages.errors import InputError
from stages.skeletons import Points

Size = tuple[int, int]
"""Width, height."""
Unit = Literal["pixels", "0 to 1", "-1 to 1"]

_FARTHEST_SHARE = 2.0
"""No body and no face is so small that all of its points are within two pixels of the picture's corner."""
_NEGATIVE = 0.05
"""Share of negative numbers above which the middle of the picture is 0; below it they are points beyond its border."""
_SHAPES = 0.05
"""Aspect ratios may differ by this share and still be those of one picture: tools round sides to multiples of 64."""


def places(values: Any) -> NDArray[np.float32]:
    """Numbers of a file as float32. TypeError where they are not an array of numbers, ValueError, which begins with "holds", where they are
    not finite, or no place near a picture."""
    try:
        with np.errstate(over="ignore"):
            array = np.array(values, np.float32)
    except (TypeError, ValueError, OverflowError) as error:
        raise TypeError(str(error)) from error
    if not np.isfinite(array).all():
        raise ValueError("holds NaN, null or infinite numbers")
    if array.size and np.abs(array).max() > FARTHEST:
        raise ValueError(f"holds the number {float(np.abs(array).max()):g}, which is no place near a picture")
    return array


@dataclass(frozen=True)
class Scaling:
    """How points of `unit` become pixels of a picture of `size`; pixels are those of a picture of the size `own`. None: as they are."""

    unit: Unit
    own: Size | None
    size: Size | None

    @property
    def parameters(self) -> dict[str, Any]:
        """What tells a layer from one whose points were taken as they are."""
        return {} if self._as_they_are else {"points": self.unit, **({"picture": list(self.own)} if self.own else {})}

    @property
    def _as_they_are(self) -> bool:
        return self.size is None or (self.unit == "pixels" and self.own in (None, self.size))

    def __call__(self, points: Points) -> Points:
        """points [..., 3]; points without confidence are zeros and stay zero.

        OpenPose divides by the distance from the first pixel to the last, width - 1. ControlNet's tools, which write the size of their
        picture as well, divide by its width.
        """
        if self._as_they_are:
            return points
        size, places = np.array(self.size), points[..., :2].astype(np.float64)
        if self.unit == "-1 to 1":
            places = (places + 1) / 2 * (size - 1)
        elif self.own is None:
            places = places * (size - 1)
        else:
            own = np.array(self.own)
            places = ((places if self.unit == "pixels" else places * own) + 0.5) * (size / own) - 0.5
        return np.where(points[..., 2:] > 0, np.concatenate([places, points[..., 2:]], -1), 0).astype(np.float32)


def scaling_of(name: str | Path, seen: NDArray[np.float32], own: Size | None, size: Size | None) -> Scaling:
    """What makes the points `seen`, [N, 2], all that the file or folder `name` has, pixels of frames of `size`.

    own: the size of the picture that the file speaks of, if it does. Raises InputError for shares of a picture of unknown size, and for
    pixels of a picture of another shape.
    """
    if not seen.size or np.abs(seen).max() > _FARTHEST_SHARE:
        if own and size and abs(own[0] * size[1] / (own[1] * size[0]) - 1) > _SHAPES:
            raise InputError(f"{name} has points of a picture of {own[0]} x {own[1]}, but the frames are {size[0]} x {size[1]}")
        return Scaling("pixels", own, size or own)
    unit: Unit = "-1 to 1" if (seen < 0).mean() > _NEGATIVE else "0 to 1"
    if own is None and size is None:
        hint = "Name the size with `fsv2v clip import --size WxH`, or the clip that they belong to with -o"
        raise InputError(f"{name} has points from {unit}, not in pixels, and does not say the size of the picture", hint=hint)
    return Scaling(unit, own, size or own)


@dataclass(frozen=True)
class Poses:
    """What a file or folder of poses holds: the arrays of the layer, the size of its frames where it is known, the layer's parameters."""

    arrays: Mapping[str, np.ndarray]
    size: Size | None
    parameters: Mapping[str, Any]


def poses_of(name: str | Path, frames: Sequence[Sequence[Person]], own: Size | None, size: Size | None) -> Poses:
    """The people of all frames in pixels of frames of `size`; see `scaling_of`, which raises InputError."""
    parts = [points for people in frames for person in people for points in person.parts.values()]
    points = np.concatenate([np.zeros((0, 3), np.float32), *parts])
    scale = scaling_of(name, points[points[:, 2] > 0, :2], own, size)

    def scaled(person: Person) -> Person:
        return Person({part: scale(points) for part, points in person.parts.items()}, person.number)

    return Poses(arrays_of([[scaled(person) for person in people] for people in frames]), scale.size, scale.parameters)


def one_size(name: str | Path, sizes: Sequence[tuple[Any, Any]]) -> Size | None:
    """The one (width, height) that the frames of a file or folder name; None where they name none. InputError when they differ, or
    are no sizes of pictures."""
    found = {(w, h) for w, h in sizes if isinstance(w, int) and isinstance(h, int) and min(w, h) > 0}
    if strange := [pair for pair in found if max(pair) > FARTHEST]:
        raise InputError(f"{name}: no picture is {str(strange[0][0]):.20} x {str(strange[0][1]):.20} pixels large")
    if len(found) > 1:
        raise InputError(f"{name}: its images have {len(found)} sizes, so they are not the frames of one video")
    return found.pop() if found else None
