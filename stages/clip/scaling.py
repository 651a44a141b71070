"""Conversion of other tools' points to pixels of a clip's frames: some files hold coordinates relative to the image, some pixels of a
smaller image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from stages.clip.layer_types import MAX_COORDINATE
from stages.clip.people import Person, arrays_of
from stages.errors import InputError
from stages.tables.skeletons import Points

Size = tuple[int, int]
"""Width, height."""
Unit = Literal["pixels", "0 to 1", "-1 to 1"]

_MAX_RELATIVE = 2.0
"""Relative coordinates are below this; no body or face lies within two pixels of the image's corner."""
_NEGATIVE = 0.05
"""Share of negative numbers above which 0 is the middle of the image; below it they are points outside of the image."""
_SHAPES = 0.05
"""Aspect ratios may differ by this share and still be those of one image: tools round sides to multiples of 64."""


def coordinates(values: Any) -> NDArray[np.float32]:
    """Numbers of a file as float32. Raises TypeError when they are not an array of numbers, and ValueError, whose text begins with "holds",
    when they are not finite or not near an image."""
    try:
        with np.errstate(over="ignore"):
            array = np.array(values, np.float32)
    except (TypeError, ValueError, OverflowError) as error:
        raise TypeError(str(error)) from error
    if not np.isfinite(array).all():
        raise ValueError("holds NaN, null or infinite numbers")
    if array.size and np.abs(array).max() > MAX_COORDINATE:
        raise ValueError(f"holds the number {float(np.abs(array).max()):g}, which is not a position near an image")
    return array


@dataclass(frozen=True)
class Scaling:
    """Converts points of `unit`, pixels of an image of the size `own`, to pixels of an image of `size`; None leaves them unchanged."""

    unit: Unit
    own: Size | None
    size: Size | None

    @property
    def parameters(self) -> dict[str, Any]:
        """Parameters of a layer's producer; empty where points are unchanged."""
        return {} if self._unchanged else {"points": self.unit, **({"picture": list(self.own)} if self.own else {})}

    @property
    def _unchanged(self) -> bool:
        return self.size is None or (self.unit == "pixels" and self.own in (None, self.size))

    def __call__(self, points: Points) -> Points:
        """points [..., 3]; points without confidence are zeros and stay zero.

        OpenPose divides by the distance from the first pixel to the last, width - 1. ControlNet's tools, which write the size of their
        image as well, divide by its width.
        """
        if self._unchanged:
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
    """The scaling of the points `seen`, [N, 2], which are all points of the file or folder `name`, to pixels of frames of `size`.

    own: the size of the image that the file names, if any. Raises InputError for relative coordinates of an image of unknown size, and for
    pixels of an image of another aspect ratio.
    """
    if not seen.size or np.abs(seen).max() > _MAX_RELATIVE:
        if own and size and abs(own[0] * size[1] / (own[1] * size[0]) - 1) > _SHAPES:
            raise InputError(f"{name} has points of an image of {own[0]} x {own[1]}, but the frames are {size[0]} x {size[1]}")
        return Scaling("pixels", own, size or own)
    unit: Unit = "-1 to 1" if (seen < 0).mean() > _NEGATIVE else "0 to 1"
    if own is None and size is None:
        raise InputError(f"{name} has points from {unit}, not in pixels, and does not say the size of the image", code="image-size-unknown")
    return Scaling(unit, own, size or own)


@dataclass(frozen=True)
class Poses:
    """The content of a file or folder of poses: arrays of the layer, the size of its frames where it is known, and the layer's
    parameters."""

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
    """The (width, height) that the frames of a file or folder name; None without any. Raises InputError when they differ or are invalid."""
    found = {(w, h) for w, h in sizes if isinstance(w, int) and isinstance(h, int) and min(w, h) > 0}
    if strange := [pair for pair in found if max(pair) > MAX_COORDINATE]:
        raise InputError(f"{name}: no image is {str(strange[0][0]):.20} x {str(strange[0][1]):.20} pixels large")
    if len(found) > 1:
        raise InputError(f"{name}: its images have {len(found)} sizes, so they are not the frames of one video")
    return found.pop() if found else None
