"""Layers: their producers, reading, and atomic writing."""

from __future__ import annotations

import hashlib
import io
import json
import time
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from stages import __version__
from stages.clip.images import Storage, decode_image, encode
from stages.clip.layer_types import LAYER_TYPES, Payload, check_arrays, check_image, payload_of
from stages.clip.schema import LAYER_SCHEMA, check_layer, dump, load
from stages.clip.store import Store
from stages.errors import InputError, InvalidClip
from stages.io.files import write_bytes
from stages.io.reading import load_npz

VERSION = __version__
DATA = "data.npz"
_SUFFIXES = {"png": "png", "jpg": "jpg", "flow": "npz"}
"""storage -> suffix of the files."""
_STORAGES = (*_SUFFIXES, "reference", "video")


@dataclass(frozen=True)
class Producer:
    """What makes a layer. A finished layer matches a request if all fields except `device` are equal.

    `weights`: name -> sha256. `parameters` must be expressible in JSON.
    """

    stage: str
    backend: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    weights: Mapping[str, str] = field(default_factory=dict)
    seed: int | None = None
    device: str = ""

    def key(self) -> str:
        """Canonical JSON of all fields except `device`, which does not change the result."""
        return json.dumps({name: value for name, value in asdict(self).items() if name != "device"}, sort_keys=True, allow_nan=False)


class Layer:
    """One finished layer of a clip."""

    def __init__(self, store: Store, kind: str, num_frames: int) -> None:
        """Reads only layer.json. Raises InvalidClip when it is missing, is damaged, or has another number of frames."""
        self._store = store
        self.kind = kind
        self.num_frames = num_frames
        name = f"{kind}/layer.json"
        self.meta = load(store.read(name), f"{store.path}/{name}")
        check_layer(self.meta, kind, num_frames, f"{store.path}/{name}")

    @property
    def digest(self) -> str:
        """sha256 of the names and contents of the data files; for frames in a video, the sha256 of the video."""
        return str(self.meta["digest"])

    @property
    def payload(self) -> Payload:
        return payload_of(self.kind, self.meta)

    @property
    def storage(self) -> str:
        """How entries are stored: png, jpg or flow (npz); for frames also reference (to the source video) and video (in the clip)."""
        storage = self.meta.get("storage", "png")
        if storage not in _STORAGES:
            raise InvalidClip(f"{self._store.path}/{self.kind}/layer.json has the storage {storage!r}, not one of {', '.join(_STORAGES)}")
        return str(storage)

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays of a layer such as poses or landmarks by name, each with one row per frame."""
        name = f"{self._store.path}/{self.kind}/{DATA}"
        if self.payload != "arrays":
            raise InputError(f"{self._store.path}/{self.kind} holds images, not arrays")
        arrays = _read_npz(self._store.read(f"{self.kind}/{DATA}"), name)
        try:
            check_arrays(self.kind, arrays, self.num_frames)
        except InputError as error:
            raise InvalidClip(f"{name}: {error}") from error
        return arrays

    def image(self, index: int) -> np.ndarray:
        """Entry `index`: uint8 [H, W] or RGB [H, W, 3]; for flow float16 [H, W, 2]."""
        if not 0 <= index < self.num_frames:
            raise IndexError(f"frame {index} of {self.num_frames}")
        name = f"{self.kind}/{self.entry(index)}"
        data = self._store.read(name)
        if self.payload == "flow":
            return _require_flow(_read_npz(data, f"{self._store.path}/{name}"), f"{self._store.path}/{name}")
        channels = LAYER_TYPES[self.kind].channels if self.kind in LAYER_TYPES else self.meta.get("channels", 1)
        return decode_image(data, f"{self._store.path}/{name}", channels)

    def images(self, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        """Entries [start, stop), read one at a time."""
        return (self.image(index) for index in range(*slice(start, stop).indices(self.num_frames)))

    def entry(self, index: int) -> str:
        """The file name of one entry."""
        return entry_name(index, self.storage)


def entry_name(index: int, storage: str) -> str:
    return f"{index:06d}.{_SUFFIXES[storage]}"


class LayerWriter:
    """Writes the files of one layer into a hidden folder. Created by `Clip.writing`, and for the frames and sound of a new clip."""

    def __init__(self, kind: str, folder: Path, num_frames: int, size: tuple[int, int], storage: Storage = "png") -> None:
        """size: (width, height) of the clip's frames in pixels."""
        self.kind = kind
        self._folder = folder
        self._num_frames = num_frames
        self._size = size
        self._payload: Payload | None = LAYER_TYPES[kind].payload if kind in LAYER_TYPES else None
        self._storage: Storage | Literal["flow"] = "flow" if self._payload == "flow" else storage
        self._entries: list[tuple[str, str, int]] = []
        self._channels = 1
        self._num_images = 0
        self._started = time.monotonic()

    def image(self, image: np.ndarray) -> None:
        """Append the next frame's image: uint8 [H, W] (RGB [H, W, 3] for frames and densepose; float [H, W, 2] for flow)."""
        self._require_payload("flow" if self._payload == "flow" else "images")
        if self._num_images == self._num_frames:
            raise InputError(f"the layer {self.kind} got more than the {self._num_frames} frames of the clip")
        check_image(self.kind, image, *self._size)
        self._channels = 1 if image.ndim == 2 else image.shape[2]
        data = npz_bytes({"flow": image.astype(np.float16)}) if self._storage == "flow" else encode(image, self._storage)
        self.add(entry_name(self._num_images, self._storage), data)
        self._num_images += 1

    def arrays(self, arrays: Mapping[str, np.ndarray] | None = None, /, **named: np.ndarray) -> None:
        """Write all arrays of the layer, by name. Called once."""
        self._require_payload("arrays")
        if self._entries:
            raise InputError(f"the layer {self.kind} was given its arrays twice")
        merged = {name: np.asarray(array) for name, array in {**(arrays or {}), **named}.items()}
        check_arrays(self.kind, merged, self._num_frames)
        self.add(DATA, npz_bytes(merged))

    def add(self, name: str, data: bytes) -> None:
        """Write a data file with this content."""
        write_bytes(self._folder / name, data)
        self._entries.append((name, hashlib.sha256(data).hexdigest(), len(data)))

    def adopt(self, name: str, sha256: str) -> None:
        """Add a data file that is already in the folder."""
        self._entries.append((name, sha256, (self._folder / name).stat().st_size))

    def finish(self, producer: Producer, inputs: Mapping[str, str], meta: Mapping[str, Any]) -> None:
        """Write layer.json, which marks the layer as finished. Raises InputError when it has no data, or too few images."""
        if not self._entries:
            raise InputError(f"the layer {self.kind} was left empty")
        if self._num_images and self._num_images != self._num_frames:
            raise InputError(f"the layer {self.kind} got {self._num_images} images, but the clip has {self._num_frames} frames")
        description: dict[str, Any] = {"payload": self._payload, "channels": self._channels}
        if self.kind in LAYER_TYPES:
            description = dict(LAYER_TYPES[self.kind].about)
        if self._num_images:
            description["storage"] = self._storage
        seconds = round(time.monotonic() - self._started, 3)
        total = sum(size for _, _, size in self._entries)
        data = layer_json(
            self.kind, self._num_frames, {**description, **meta}, producer, seconds, inputs, combined_digest(self._entries), total
        )
        write_bytes(self._folder / "layer.json", data)

    def end_here(self) -> int:
        """Declare a layer of unknown length to be complete. Returns the number of frames."""
        self._num_frames = self._num_images
        return self._num_frames

    def _require_payload(self, payload: Payload) -> None:
        if self._payload is None:
            self._payload = payload
        if self._payload != payload:
            raise InputError(f"the layer {self.kind} holds {self._payload}, not {payload}")


def layer_json(
    kind: str,
    num_frames: int,
    description: Mapping[str, Any],
    producer: Producer,
    seconds: float,
    inputs: Mapping[str, str],
    digest: str,
    num_bytes: int,
) -> bytes:
    """The bytes of a layer.json. description: its entries about units and meaning; seconds: the time that making the layer took."""
    producer_entry = {**asdict(producer), "version": VERSION, "seconds": seconds}
    head = {"schema": LAYER_SCHEMA, "kind": kind, "num_frames": num_frames}
    tail = {"producer": producer_entry, "inputs": dict(inputs), "digest": digest, "bytes": num_bytes}
    return dump({**head, **{key: value for key, value in description.items() if key not in {**head, **tail}}, **tail})


def combined_digest(entries: list[tuple[str, str, int]]) -> str:
    """sha256 of the lines "name NUL sha256 newline" of all files, in the order of their names."""
    lines = "".join(f"{name}\0{digest}\n" for name, digest, _ in sorted(entries))
    return hashlib.sha256(lines.encode()).hexdigest()


def npz_bytes(arrays: Mapping[str, np.ndarray]) -> bytes:
    """An uncompressed npz. Its bytes depend only on the arrays."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(arrays):
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w") as member:  # writes in pieces, without a copy of the whole array
                np.lib.format.write_array(member, np.ascontiguousarray(arrays[name]), allow_pickle=False)
    return buffer.getvalue()


def _read_npz(data: bytes, name: str) -> dict[str, np.ndarray]:
    try:
        return load_npz(data)
    except ValueError as error:
        raise InvalidClip(f"{name} is not a readable npz: {error}") from error


def _require_flow(arrays: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    flow = arrays.get("flow", np.zeros(0))
    if flow.ndim != 3 or flow.shape[2] != 2 or flow.dtype.kind != "f":
        raise InvalidClip(f'{name} holds no array "flow" of floating-point numbers [H, W, 2]')
    return flow
