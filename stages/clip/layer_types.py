"""The layers that format 1 of clips defines: how each is stored, and the shapes and types of its arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from stages.errors import InputError

MAX_COORDINATE = 2.0**20
"""Largest coordinate in pixels: 64 times the largest side of an image. Float32 still resolves an eighth of a pixel there."""
Payload = Literal["arrays", "images", "flow", "file"]


@dataclass(frozen=True)
class LayerType:
    """The properties of the layers of one name."""

    payload: Payload
    """How the layer is stored."""
    channels: int = 1
    """Number of channels of an image."""
    arrays: Mapping[str, tuple[tuple[int | None, ...], type]] = field(default_factory=dict)
    """Required arrays: name -> (shape after the axes T of frames and P of people; dtype). None in a shape is any size."""
    optional: Mapping[str, tuple[tuple[int | None, ...], type]] = field(default_factory=dict)
    """Optional arrays, described in the same way."""
    about: Mapping[str, Any] = field(default_factory=dict)
    """The entries of layer.json about units and meaning."""


_POINTS = {"units": "pixels of the frame, pixel centres at integers, origin top left", "columns": ["x", "y", "confidence"]}

LAYER_TYPES: Mapping[str, LayerType] = {
    "frames": LayerType("images", channels=3, about={"colour": "RGB"}),
    "audio": LayerType("file"),
    "poses": LayerType(
        "arrays",
        arrays={"keypoints": ((None, 3), np.float32), "boxes": ((4,), np.float32), "track_id": ((), np.int32)},
        about={**_POINTS, "boxes": "x0, y0, x1, y1"},
    ),
    "landmarks": LayerType(
        "arrays", arrays={"points": ((68, 3), np.float32)}, optional={"iris": ((10, 3), np.float32)}, about={**_POINTS, "order": "iBUG-68"}
    ),
    "sketch": LayerType("images", about={"values": "edge strength, 0 to 255"}),
    "segment": LayerType("images", about={"values": "label ids"}),
    "mask": LayerType("images", about={"values": "255 foreground, 0 background"}),
    "densepose": LayerType("images", channels=3, about={"values": "I (part 0..24), U, V as stored by the importer"}),
    "flow": LayerType("flow", channels=2, about={"units": "pixels, frame t to t + 1; zeros for the last frame", "columns": ["dx", "dy"]}),
    "flow_confidence": LayerType("images", about={"values": "confidence of the layer flow, 0 to 255"}),
}


def payload_of(layer: str, meta: Mapping[str, Any]) -> Payload:
    """How the layer is stored. For a layer that the format does not define, this is an entry of its layer.json."""
    if layer in LAYER_TYPES:
        return LAYER_TYPES[layer].payload
    payload = meta.get("payload")
    return "images" if payload == "images" else "flow" if payload == "flow" else "file" if payload == "file" else "arrays"


def check_arrays(layer: str, arrays: Mapping[str, np.ndarray], num_frames: int) -> None:
    """Raises InputError unless all required arrays are present, each with `num_frames` rows, the right shape and type, and valid values."""
    required, optional = (LAYER_TYPES[layer].arrays, LAYER_TYPES[layer].optional) if layer in LAYER_TYPES else ({}, {})
    expected = {**required, **optional}
    missing = [name for name in required if name not in arrays]
    if missing:
        raise InputError(f"the layer {layer} lacks {', '.join(missing)}")
    people_counts: set[int] = set()
    for name, array in arrays.items():
        if array.ndim < 1 or array.shape[0] != num_frames:
            raise InputError(f"{layer}/{name} has shape {array.shape}, but the clip has {num_frames} frames")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise InputError(f"{layer}/{name} holds NaN or infinite numbers", hint="A missing detection has confidence 0, never NaN")
        largest = float(np.abs(array).max(initial=0)) if array.dtype.kind == "f" else 0.0
        if layer in LAYER_TYPES and largest > MAX_COORDINATE:
            raise InputError(f"{layer}/{name} holds the number {largest:g}, which is not a position near an image")
        if array.dtype.kind not in "fiub":
            raise InputError(f"{layer}/{name} has the type {array.dtype}, which is not a number")
        if name in expected:
            _check_shape(f"{layer}/{name}", array, *expected[name])
            people_counts.add(array.shape[1])
    if len(people_counts) > 1:
        raise InputError(f"the arrays of {layer} have different numbers of people: {sorted(people_counts)}")
    for name in ("points", "iris", "keypoints"):
        if name in expected and name in arrays and (arrays[name][..., 2] < 0).any():
            raise InputError(f"{layer}/{name} holds a negative confidence")


def _check_shape(name: str, array: np.ndarray, tail: tuple[int | None, ...], dtype: type) -> None:
    expected_shape = " x ".join(["T", "P", *("K" if size is None else str(size) for size in tail)])
    fits = array.ndim == 2 + len(tail) and all(size in (None, got) for size, got in zip(tail, array.shape[2:], strict=True))
    if not fits or array.dtype != dtype:
        raise InputError(f"{name} is {array.dtype} of shape {array.shape}; it must be {np.dtype(dtype)} of shape {expected_shape}")


def check_image(layer: str, image: np.ndarray, width: int, height: int) -> None:
    """Raises InputError unless `image` is a valid frame of `layer` in a clip of width x height."""
    channels = LAYER_TYPES[layer].channels if layer in LAYER_TYPES else (3 if image.ndim == 3 else 1)
    is_flow = layer in LAYER_TYPES and LAYER_TYPES[layer].payload == "flow"
    shape = (height, width) if channels == 1 else (height, width, channels)
    if image.shape != shape or (image.dtype.kind != "f" if is_flow else image.dtype != np.uint8):
        raise InputError(
            f"an image of the layer {layer} is {image.dtype} {image.shape}; it must be {'float' if is_flow else 'uint8'} {shape}"
        )
    if is_flow and not (np.abs(image) <= np.finfo(np.float16).max).all():
        raise InputError("the layer flow holds NaN, infinite numbers, or motion of more than 65504 pixels")
    if layer == "mask" and not np.isin(image, (0, 255)).all():
        raise InputError("an image of the layer mask holds values other than 0 and 255")
