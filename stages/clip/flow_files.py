"""Files of optical flow in the formats of other tools: Middlebury .flo, KITTI PNG, npz.

All hold the motion (dx, dy) of each pixel in pixels. Pixels whose flow is marked as unknown get flow 0 and confidence 0.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from stages.clip.images import by_name, natural_key
from stages.clip.layers import npz_bytes
from stages.errors import InputError
from stages.io.image_headers import is_decodable
from stages.io.reading import load_npz

FlowFormat = Literal["flo", "png", "npz"]
FLOW_FORMATS: tuple[FlowFormat, ...] = ("flo", "png", "npz")
MAX_FLOW = 65504.0
"""Largest flow in pixels: the largest number of float16, in which the layer `flow` is stored."""

_FLO_MAGIC = b"PIEH"  # 202021.25 as a little-endian float32
_FLO_UNKNOWN = 1e9
_MAX_PNG_FLOW = 511.98
_PNG_END = b"IEND\xaeB`\x82"


class FlowField(NamedTuple):
    """flow, float [H, W, 2] in pixels; confidence, uint8 [H, W] from 0 to 255."""

    flow: NDArray[np.floating]
    confidence: NDArray[np.uint8]


def list_flow(folder: Path) -> list[Path]:
    """The flow files directly in `folder` in the natural order of their names.

    Raises InputError when there is none, for files of several formats, and for two files of one name.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder")
    files = [path for path in folder.iterdir() if path.suffix[1:].lower() in FLOW_FORMATS and not path.name.startswith(".")]
    suffixes = sorted({path.suffix.lower() for path in files})
    if len(suffixes) != 1:
        found = " and ".join(suffixes) or "no"
        raise InputError(f"{folder} holds {found} files of optical flow", hint="Give a folder of .flo, .png or .npz files alone")
    return list(by_name(sorted(files, key=lambda path: natural_key(path.name))).values())


def read_flow(path: Path) -> FlowField:
    """Read one file, by its suffix. Raises InputError when it is invalid."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    field = {".flo": _from_flo, ".png": _from_png, ".npz": _from_npz}[path.suffix.lower()](data, path)
    if not (np.abs(field.flow) <= MAX_FLOW).all():
        raise InputError(f"{path} holds NaN, or motion of more than {MAX_FLOW:.0f} pixels")
    return field


def flow_bytes(field: FlowField, form: FlowFormat) -> bytes:
    """The content of a file in the format `form`. Raises InputError for motion that is too large for KITTI's PNG.

    flo: the flow as float32, without confidence. png: steps of 1/64 pixel, valid where the confidence is above one half. npz: both arrays.
    """
    return {"flo": _to_flo, "png": _to_png, "npz": _to_npz}[form](field)


def _from_flo(data: bytes, path: Path) -> FlowField:
    if data[:4] != _FLO_MAGIC:
        raise InputError(f"{path} is not a .flo file: it does not begin with PIEH")
    width, height = struct.unpack("<ii", data[4:12]) if len(data) >= 12 else (0, 0)
    expected_bytes = 12 + 8 * width * height
    if width < 1 or height < 1 or len(data) != expected_bytes:
        raise InputError(
            f"{path} has {len(data)} bytes; flow of {width} x {height} pixels takes {expected_bytes}", hint="It may have been cut off"
        )
    flow = np.frombuffer(data, "<f4", offset=12).reshape(height, width, 2).astype(np.float32)
    unknown = np.any(np.abs(flow) > _FLO_UNKNOWN, axis=-1, keepdims=True)
    return FlowField(np.where(unknown, np.float32(0), flow), np.where(unknown, 0, 255)[..., 0].astype(np.uint8))


def _to_flo(field: FlowField) -> bytes:
    height, width = field.confidence.shape
    return _FLO_MAGIC + struct.pack("<ii", width, height) + np.ascontiguousarray(field.flow, "<f4").tobytes()


def _from_png(data: bytes, path: Path) -> FlowField:
    """Red is 64 dx + 32768, green 64 dy + 32768, blue not 0 where the flow is valid (development kit of KITTI 2015)."""
    try:
        is_intact = data.rstrip(b"\0").endswith(_PNG_END) and is_decodable(data)
        stored = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if is_intact else None
    except cv2.error:
        stored = None
    if stored is None:
        raise InputError(f"{path} is not a PNG that can be read", hint="It may have been cut off, or be too large")
    if stored.dtype != np.uint16 or stored.ndim != 3 or stored.shape[2] != 3:
        raise InputError(f"{path} is not flow as KITTI stores it: that has three channels of 16 bits")
    valid, dy, dx = cv2.split(stored)
    flow = (np.stack([dx, dy], -1).astype(np.float32) - 32768) / 64
    return FlowField(np.where(valid[..., None] > 0, flow, np.float32(0)), np.where(valid > 0, 255, 0).astype(np.uint8))


def _to_png(field: FlowField) -> bytes:
    valid = field.confidence > 127
    flow = np.where(valid[..., None], field.flow, 0).astype(np.float32)
    if (largest := float(np.abs(flow).max(initial=0))) > _MAX_PNG_FLOW:
        raise InputError(
            f"motion of {largest:.0f} pixels does not fit into KITTI's PNG, which holds less than 512", hint="Choose flo or npz"
        )
    stored = np.where(valid[..., None], np.rint(flow * 64 + 32768), 0).astype(np.uint16)
    ok, data = cv2.imencode(".png", np.dstack([valid.astype(np.uint16), stored[..., 1], stored[..., 0]]))
    if not ok:
        raise InputError(f"flow of {valid.shape[1]} x {valid.shape[0]} pixels cannot be stored as PNG")
    return bytes(data.tobytes())


def _from_npz(data: bytes, path: Path) -> FlowField:
    """The array "flow", or the only array, [H, W, 2] or [2, H, W]; optionally the array "confidence", uint8 [H, W]."""
    try:
        arrays = load_npz(data)
    except ValueError as error:
        raise InputError(f"{path} is not an npz that can be read: {error}") from error
    flow = arrays.get("flow", next(iter(arrays.values())) if len(arrays) == 1 else np.zeros(0))
    flow = flow.transpose(1, 2, 0) if flow.ndim == 3 and flow.shape[0] == 2 and flow.shape[2] != 2 else flow
    if flow.ndim != 3 or flow.shape[2] != 2 or flow.dtype.kind != "f" or not flow.size:
        raise InputError(f'{path} holds no array "flow" of floating-point numbers [H, W, 2]')
    confidence = arrays.get("confidence", np.full(flow.shape[:2], 255, np.uint8))
    if confidence.shape != flow.shape[:2] or confidence.dtype != np.uint8:
        raise InputError(f"{path}: the confidence is {confidence.dtype} {confidence.shape}; it must be uint8 {flow.shape[:2]}")
    return FlowField(flow, confidence)


def _to_npz(field: FlowField) -> bytes:
    return npz_bytes({"flow": field.flow, "confidence": field.confidence})
