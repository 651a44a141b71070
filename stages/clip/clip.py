"""The clip: frames and layers of one video, in a directory or a zip."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from stages.clip.ffmpeg import Media
from stages.clip.layers import Layer, LayerWriter, Producer
from stages.clip.probe import Colour, Timestamps, VideoInfo
from stages.clip.reader import decode
from stages.clip.schema import check_clip, integer, is_layer_name, load, rational, seconds, timestamps, word
from stages.clip.store import DirectoryStore, Store, is_safe_name, open_store
from stages.errors import InProgress, InputError, InvalidClip, ParametersDiffer, UsageError
from stages.io.differences import differences
from stages.io.files import alone, building_directory


def open_clip(path: str | Path) -> Clip:
    """Open a clip directory or a packed clip. Raises InputError when it does not exist, InvalidClip when it is not a clip."""
    return Clip(open_store(Path(path)))


def is_clip(path: Path) -> bool:
    """Whether `path` is meant to be a clip: a folder with clip.json or named *.clip, or a zip."""
    if path.is_dir():
        return (path / "clip.json").is_file() or path.suffix.lower() == ".clip"
    return path.suffix.lower() in (".zip", ".clip")


class Clip:
    """One clip. Opening reads clip.json only; the object can be sent to another process."""

    def __init__(self, store: Store) -> None:
        if not store.exists("clip.json"):
            raise InvalidClip(f"{store.path} is not a clip: it has no clip.json")
        name = f"{store.path}/clip.json"
        self.meta = load(store.read("clip.json"), name)
        check_clip(self.meta, name)
        self.store = store
        self.path: Path = store.path
        self.id: str = self.meta["id"]
        self.width: int = self.meta["width"]
        self.height: int = self.meta["height"]
        self.num_frames: int = self.meta["num_frames"]
        self.fps: Fraction = rational(self.meta, "fps", name)
        self.timestamps: Timestamps | None = timestamps(self.meta, self.num_frames, name)
        self.source: dict[str, Any] | None = self.meta.get("source")
        self._layer_when_checked: dict[str, bytes | None] = {}  # layer.json as `needs` saw it; `writing` refuses if it has changed

    def __repr__(self) -> str:
        return f"Clip({str(self.path)!r}, {self.width}x{self.height}, {self.num_frames} frames)"

    # Layers

    def layers(self) -> list[str]:
        """The kinds of all finished layers, sorted."""
        return [name for name in self.store.names() if is_layer_name(name) and self.has(name)]

    def has(self, kind: str) -> bool:
        """Whether the clip has this layer, finished."""
        return self.store.exists(f"{kind}/layer.json")

    def layer(self, kind: str) -> Layer:
        """Raises InputError when the clip has no such layer, InvalidClip when it is damaged."""
        if not self.has(kind):
            have = ", ".join(self.layers()) or "none"
            raise InputError(f"{self.path} has no layer {kind} (it has: {have})")
        return Layer(self.store, kind, self.num_frames)

    # Frames

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        """Yield frames [start, stop) as uint8 RGB [H, W, 3], read or decoded one at a time."""
        layer = self._frames
        if layer.storage not in ("reference", "video"):
            return self._sized(layer.images(start, stop))
        return decode(self.video(layer), self._info(layer), start, stop)

    @cached_property
    def _frames(self) -> Layer:
        """The layer `frames`, cached because training reads single frames."""
        return self.layer("frames")

    def frame(self, index: int) -> np.ndarray:
        """Frame `index` alone, uint8 RGB [H, W, 3]; for a video this decodes from the key frame before it."""
        if not 0 <= index < self.num_frames:
            raise IndexError(f"frame {index} of {self.num_frames}")
        return next(self.frames(index, index + 1))

    def frames_digest(self) -> str:
        """Identifies the frames: the sha256 of the source video, or the digest of the stored images."""
        return self.layer("frames").digest

    def audio(self) -> tuple[Media, Fraction] | None:
        """(the sound as ffmpeg can open it, seconds from the first frame to its start), or None without sound."""
        if not self.has("audio"):
            return None
        offset = seconds(self.layer("audio").meta, "offset", f"{self.path}/audio/layer.json")
        return self.store.media("audio/audio.mka"), offset

    # Writing

    def needs(self, kind: str, producer: Producer, inputs: Mapping[str, str], overwrite: bool = False) -> bool:
        """Whether the layer must be made. False when it is there and was made in this very way.

        Raises ParametersDiffer with each difference when it was made in another way and `overwrite` is not set.
        """
        if overwrite:
            return True
        self._layer_when_checked[kind] = self._state(kind)
        if self._layer_when_checked[kind] is None:
            return True
        old = self.layer(kind).meta
        made = {name: old["producer"].get(name) for name in ("stage", "backend", "parameters", "weights", "seed")}
        found = differences({**made, "inputs": old["inputs"]}, {**json.loads(producer.key()), "inputs": dict(inputs)})
        if found:
            raise ParametersDiffer(
                f"{self.path} has a layer {kind} that was made otherwise ({'; '.join(found)})",
                code="output-differs",
            )
        return False

    @contextlib.contextmanager
    def writing(
        self, kind: str, producer: Producer, inputs: Mapping[str, str], meta: Mapping[str, Any] | None = None
    ) -> Iterator[LayerWriter]:
        """Collect a layer; it appears (or replaces the previous one) in one step when the block ends without an exception.

        `inputs` names the layers it was made from with their digests; `meta` describes its numbers. Raises
        InputError for wrong shapes, NaN, or a number of images other than num_frames; then nothing is left behind. Raises InProgress
        while another process makes the layer, and when one has made it since `needs` was called.
        """
        if not isinstance(self.store, DirectoryStore):
            raise InputError(f"{self.path} is packed and cannot be added to", code="clip-packed")
        if not is_layer_name(kind):
            raise InputError(f"{kind!r} cannot be the name of a layer")
        with self._alone(kind), building_directory(self.path / kind, replace=True) as folder:
            writer = LayerWriter(kind, folder, self.num_frames, (self.width, self.height))
            yield writer
            writer.finish(producer, inputs, meta or {})
        if kind == "frames":
            self.__dict__.pop("_frames", None)

    @contextlib.contextmanager
    def _alone(self, kind: str) -> Iterator[None]:
        with alone(self.path / kind, refusal=InProgress):
            if kind in self._layer_when_checked and self._layer_when_checked.pop(kind) != self._state(kind):
                raise InProgress(f"{self.path / kind} was finished by another process meanwhile", hint="Run the same command again")
            yield

    def _state(self, kind: str) -> bytes | None:
        """The content of layer.json, which differs between two layers of one name; None without the layer."""
        return self.store.read(f"{kind}/layer.json") if self.has(kind) else None

    def require_not(self, out: Path) -> None:
        """Raises UsageError when writing to `out` would replace this clip or its source."""
        for own in (self.path, self.source_path()):
            if own is not None and own.exists() and out.exists() and own.samefile(out):
                raise UsageError(f"{out} is its own source, and is not replaced", code="output-taken")

    def source_path(self) -> Path | None:
        """The path of the clip's source, which may no longer exist; None if it has none."""
        given = (self.source or {}).get("path")
        return Path(os.path.abspath(self.path.parent / given)) if isinstance(given, str) and given else None

    def video(self, layer: Layer) -> Media:
        """The video that the frames are decoded from. Raises InputError when it is gone or has another size."""
        if layer.storage == "video":
            name = str(layer.meta.get("file"))
            if not is_safe_name(name) or "/" in name:
                raise InvalidClip(f"{self.path}/frames/layer.json names the file {name!r}")
            return self.store.media(f"frames/{name}")
        path = self.source_path()
        if path is None or not path.is_file():
            raise InputError(f"{self.path} refers to the video {path}, which is not there", hint="Put it back, or import it again")
        if path.stat().st_size != (self.source or {}).get("bytes"):
            raise InputError(f"{path} is not the video that {self.path} was made of: its size has changed")
        return Media(path)

    def _info(self, layer: Layer) -> VideoInfo:
        about, name = layer.meta.get("video"), f"{self.path}/frames/layer.json"
        if not isinstance(about, dict):
            raise InvalidClip(f'{name} lacks "video"')
        return VideoInfo(
            width=self.width,
            height=self.height,
            fps=self.fps,
            num_frames=self.num_frames,
            timestamps=self.timestamps,
            time_base=self.timestamps.time_base if self.timestamps else 1 / self.fps,
            rotation=integer({"rotation": 0, **about}, "rotation", -360, 360, name),
            pix_fmt=word(about, "pix_fmt", name),
            has_audio=self.has("audio"),
            duration=self.num_frames / self.fps,
            start=seconds(about, "start", name),
            seekable=about.get("seekable") is True,
            colour=Colour(*(word(about, key, name) for key in ("matrix", "primaries", "transfer", "range"))),
            decoder=word(about, "decoder", name),
        )

    def _sized(self, images: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        for image in images:
            if image.shape != (self.height, self.width, 3):
                raise InvalidClip(f"{self.path}: a frame is {image.shape[1]} x {image.shape[0]}, the clip {self.width} x {self.height}")
            yield image
