"""The kinds of layer of format 1, and their shapes and types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from stages.errors import InputError

MAX_COORDINATE = 2.0**20
"""Largest coordinate in pixels: 64 times the largest side of an image. Float32 still tells an eighth of a pixel there."""
Payload = Literal["arrays", "images", "flow", "file"]


@dataclass(frozen=True)
class Kind:
    """channels: of an image layer. arrays: name -> (shape after T, P; dtype) of required arrays; optional: the same of optional ones."""

    payload: Payload
    channels: int = 1
    arrays: Mapping[str, tuple[tuple[int | None, ...], type]] = field(default_factory=dict)
    optional: Mapping[str, tuple[tuple[int | None, ...], type]] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)


_POINTS = {"units": "pixels of the frame, pixel centres at integers, origin top left", "columns": ["x", "y", "confidence"]}

KINDS: Mapping[str, Kind] = {
    "frames": Kind("images", channels=3, about={"colour": "RGB"}),
    "audio": Kind("file"),
    "poses": Kind(
        "arrays",
        arrays={"keypoints": ((None, 3), np.float32), "boxes": ((4,), np.float32), "track_id": ((), np.int32)},
        about={**_POINTS, "boxes": "x0, y0, x1, y1"},
    ),
    "landmarks": Kind(
        "arrays", arrays={"points": ((68, 3), np.float32)}, optional={"iris": ((10, 3), np.float32)}, about={**_POINTS, "order": "iBUG-68"}
    ),
    "sketch": Kind("images", about={"values": "edge strength, 0 to 255"}),
    "segment": Kind("images", about={"values": "label ids"}),
    "mask": Kind("images", about={"values": "255 foreground, 0 background"}),
    "densepose": Kind("images", channels=3, about={"values": "I (part 0..24), U, V as stored by the importer"}),
    "flow": Kind("flow", channels=2, about={"units": "pixels, frame t to t + 1; zeros for the last frame", "columns": ["dx", "dy"]}),
    "flow_confidence": Kind("images", about={"values": "confidence of the layer flow, 0 to 255"}),
}


def payload_of(kind: str, meta: Mapping[str, Any]) -> Payload:
    """How the layer is stored: by its kind, or for kinds of other tools by its layer.json."""
    if kind in KINDS:
        return KINDS[kind].payload
    stored = meta.get("payload")
    return "images" if stored == "images" else "flow" if stored == "flow" else "file" if stored == "file" else "arrays"


def check_arrays(kind: str, arrays: Mapping[str, np.ndarray], num_frames: int) -> None:
    """Raises InputError unless every array has `num_frames` rows, the right shape and type, and only finite numbers."""
    required, optional = (KINDS[kind].arrays, KINDS[kind].optional) if kind in KINDS else ({}, {})
    expected = {**required, **optional}
    missing = [name for name in required if name not in arrays]
    if missing:
        raise InputError(f"the layer {kind} lacks {', '.join(missing)}")
    people: set[int] = set()
    for name, array in arrays.items():
        if array.ndim < 1 or array.shape[0] != num_frames:
            raise InputError(f"{kind}/{name} has shape {array.shape}, but the clip has {num_frames} frames")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise InputError(f"{kind}/{name} holds NaN or infinite numbers", hint="A missing detection has confidence 0, never NaN")
        largest = float(np.abs(array).max(initial=0)) if array.dtype.kind == "f" else 0.0
        if kind in KINDS and largest > MAX_COORDINATE:
            raise InputError(f"{kind}/{name} holds the number {largest:g}, which is not a position near an image")
        if array.dtype.kind not in "fiub":
            raise InputError(f"{kind}/{name} has the type {array.dtype}, which is not a number")
        if name in expected:
            _check_shape(f"{kind}/{name}", array, *expected[name])
            people.add(array.shape[1])
    if len(people) > 1:
        raise InputError(f"the arrays of {kind} have different numbers of people: {sorted(people)}")
    for name in ("points", "iris", "keypoints"):
        if name in expected and name in arrays and (arrays[name][..., 2] < 0).any():
            raise InputError(f"{kind}/{name} holds a negative confidence")


def _check_shape(name: str, array: np.ndarray, tail: tuple[int | None, ...], dtype: type) -> None:
    wanted = " x ".join(["T", "P", *("K" if size is None else str(size) for size in tail)])
    fits = array.ndim == 2 + len(tail) and all(size in (None, got) for size, got in zip(tail, array.shape[2:], strict=True))
    if not fits or array.dtype != dtype:
        raise InputError(f"{name} is {array.dtype} of shape {array.shape}; it must be {np.dtype(dtype)} of shape {wanted}")


def check_image(kind: str, image: np.ndarray, width: int, height: int) -> None:
    """Raises InputError unless `image` is what one frame of a layer of this kind must be."""
    channels = KINDS[kind].channels if kind in KINDS else (3 if image.ndim == 3 else 1)
    flow = kind in KINDS and KINDS[kind].payload == "flow"
    shape = (height, width) if channels == 1 else (height, width, channels)
    if image.shape != shape or (image.dtype.kind != "f" if flow else image.dtype != np.uint8):
        raise InputError(f"an image of the layer {kind} is {image.dtype} {image.shape}; it must be {'float' if flow else 'uint8'} {shape}")
    if flow and not (np.abs(image) <= np.finfo(np.float16).max).all():
        raise InputError("the layer flow holds NaN, infinite numbers, or motion of more than 65504 pixels")
    if kind == "mask" and not np.isin(image, (0, 255)).all():
        raise InputError("an image of the layer mask holds values other than 0 and 255")
