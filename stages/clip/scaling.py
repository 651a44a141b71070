"""Conversion of other tools' points to pixels of a clip's frames. Some files hold coordinates relative to the image, others pixels of an
image of another size."""

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

WidthHeight = tuple[int, int]
"""(width, height) in pixels."""
Unit = Literal["pixels", "0 to 1", "-1 to 1"]

_MAX_RELATIVE = 2.0
"""Coordinates up to this are relative to the image: no body or face has all its points within two pixels of the corner."""
_NEGATIVE_SHARE = 0.05
"""If a larger share of the coordinates is negative, 0 is the middle of the image. Else negative ones are points outside of the image."""
_ASPECT_TOLERANCE = 0.05
"""Largest relative difference between the aspect ratios of an image and the frames: tools round sides to multiples of 64."""


def read_coordinates(values: Any) -> NDArray[np.float32]:
    """The coordinates in a file as float32.

    Raises TypeError when they are not an array of numbers, ValueError when they are not finite or far outside of any image. The message of
    the ValueError begins with "holds".
    """
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
    """Converts points to pixels of frames of `frame_size`; if that is None, the points stay as they are.

    unit: that of the points; if it is pixels, they are those of an image of `image_size`.
    """

    unit: Unit
    image_size: WidthHeight | None
    frame_size: WidthHeight | None

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters that are added to those of a layer's producer; none if the points are unchanged."""
        return {} if self._is_identity else {"points": self.unit, **({"picture": list(self.image_size)} if self.image_size else {})}

    @property
    def _is_identity(self) -> bool:
        return self.frame_size is None or (self.unit == "pixels" and self.image_size in (None, self.frame_size))

    def __call__(self, points: Points) -> Points:
        """Convert points [..., 3]. Points without confidence are zeros and stay so.

        To make coordinates relative, OpenPose divides them by width - 1. ControlNet's tools, which also write the size of the image, divide
        by the width.
        """
        if self._is_identity:
            return points
        frame_size, positions = np.array(self.frame_size), points[..., :2].astype(np.float64)
        if self.unit == "-1 to 1":
            positions = (positions + 1) / 2 * (frame_size - 1)
        elif self.image_size is None:
            positions = positions * (frame_size - 1)
        else:
            image_size = np.array(self.image_size)
            positions = ((positions if self.unit == "pixels" else positions * image_size) + 0.5) * (frame_size / image_size) - 0.5
        return np.where(points[..., 2:] > 0, np.concatenate([positions, points[..., 2:]], -1), 0).astype(np.float32)


def find_scaling(
    name: str | Path, positions: NDArray[np.float32], image_size: WidthHeight | None, frame_size: WidthHeight | None
) -> Scaling:
    """The scaling of points to pixels of frames of `frame_size`. positions [N, 2]: all points in the file or folder `name`.

    image_size: the size of the image that the file states, if any. Raises InputError for relative coordinates if no size is known, and for
    pixels of an image whose aspect ratio differs from that of the frames.
    """
    if not positions.size or np.abs(positions).max() > _MAX_RELATIVE:
        if image_size and frame_size and abs(image_size[0] * frame_size[1] / (image_size[1] * frame_size[0]) - 1) > _ASPECT_TOLERANCE:
            raise InputError(
                f"{name} has points of an image of {image_size[0]} x {image_size[1]}, but the frames are {frame_size[0]} x {frame_size[1]}"
            )
        return Scaling("pixels", image_size, frame_size or image_size)
    unit: Unit = "-1 to 1" if (positions < 0).mean() > _NEGATIVE_SHARE else "0 to 1"
    if image_size is None and frame_size is None:
        raise InputError(f"{name} has points from {unit}, not in pixels, and does not say the size of the image", code="image-size-unknown")
    return Scaling(unit, image_size, frame_size or image_size)


@dataclass(frozen=True)
class Poses:
    """The content of a file or folder of poses. arrays: those of the layer; size: that of the frames, None if unknown; parameters: those of
    the layer's producer."""

    arrays: Mapping[str, np.ndarray]
    size: WidthHeight | None
    parameters: Mapping[str, Any]


def scale_poses(
    name: str | Path, frames: Sequence[Sequence[Person]], image_size: WidthHeight | None, frame_size: WidthHeight | None
) -> Poses:
    """The people of all frames, scaled to pixels of frames of `frame_size`. Raises InputError as `find_scaling`."""
    all_points = [points for people in frames for person in people for points in person.parts.values()]
    points = np.concatenate([np.zeros((0, 3), np.float32), *all_points])
    scaling = find_scaling(name, points[points[:, 2] > 0, :2], image_size, frame_size)

    def scale_person(person: Person) -> Person:
        return Person({part: scaling(points) for part, points in person.parts.items()}, person.number)

    return Poses(arrays_of([[scale_person(person) for person in people] for people in frames]), scaling.frame_size, scaling.parameters)


def common_size(name: str | Path, sizes: Sequence[tuple[Any, Any]]) -> WidthHeight | None:
    """The only size (width, height) in `sizes`, None if there is none. Pairs other than positive integers are ignored.

    Raises InputError when sizes differ or are too large.
    """
    distinct = {(w, h) for w, h in sizes if isinstance(w, int) and isinstance(h, int) and min(w, h) > 0}
    if too_large := [pair for pair in distinct if max(pair) > MAX_COORDINATE]:
        raise InputError(f"{name}: no image is {str(too_large[0][0]):.20} x {str(too_large[0][1]):.20} pixels large")
    if len(distinct) > 1:
        raise InputError(f"{name}: its images have {len(distinct)} sizes, so they are not the frames of one video")
    return distinct.pop() if distinct else None
