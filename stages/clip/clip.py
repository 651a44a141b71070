"""The clip: frames and layers of one video, in a directory or a zip."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from stages.clip.ffmpeg import Media
from stages.clip.layers import Layer, LayerWriter, Producer
from stages.clip.probe import Colour, Timestamps, VideoInfo
from stages.clip.reader import decode
from stages.clip.schema import (
    MAX_FRAMES,
    check_clip,
    is_layer_name,
    load,
    read_ffmpeg_name,
    read_integer,
    read_rational,
    read_seconds,
    read_timestamps,
)
from stages.clip.store import DirectoryStore, Store, is_safe_name, open_store
from stages.errors import InProgress, InputError, InvalidClip, ParametersDiffer, UsageError
from stages.io.differences import differences
from stages.io.files import building_directory, exclusive_lock

KEPT_FRAMES = 4
"""Number of frames of a clip that `keeping_frames` caches."""


def open_clip(path: str | Path) -> Clip:
    """Open a clip directory or a packed clip. Raises InputError when it does not exist, InvalidClip when it is not a clip."""
    return Clip(open_store(Path(path)))


def is_clip(path: Path) -> bool:
    """Whether `path` is to be opened as a clip: a folder that contains clip.json or is named *.clip, or a file named *.zip or *.clip."""
    if path.is_dir():
        return (path / "clip.json").is_file() or path.suffix.lower() == ".clip"
    return path.suffix.lower() in (".zip", ".clip")


@contextlib.contextmanager
def keeping_frames(clips: Iterable[Clip]) -> Iterator[None]:
    """In the block, `Clip.frame` caches the last KEPT_FRAMES frames of each of these clips, so that a large photograph is decoded once.

    The cached arrays are read-only.
    """
    before = [(clip, clip._cached_frames) for clip in clips]
    for clip, _ in before:
        clip._cached_frames = {}
    try:
        yield
    finally:
        for clip, cached in before:
            clip._cached_frames = cached


class Clip:
    """One clip. Opening it reads only clip.json. It can be pickled for another process."""

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
        self.fps: Fraction = read_rational(self.meta, "fps", name)
        self.timestamps: Timestamps | None = read_timestamps(self.meta, self.num_frames, name)
        self.source: dict[str, Any] | None = self.meta.get("source")
        self._cached_frames: dict[int, np.ndarray] | None = None
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
        """The layer of this kind. Raises InputError when the clip has no such layer, InvalidClip when it is damaged."""
        if not self.has(kind):
            existing = ", ".join(self.layers()) or "none"
            raise InputError(f"{self.path} has no layer {kind} (it has: {existing})")
        return Layer(self.store, kind, self.num_frames)

    # Frames

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        """Yield frames [start, stop) as uint8 RGB [H, W, 3], read or decoded one at a time."""
        layer = self._frames
        if layer.storage not in ("reference", "video"):
            return self._require_clip_size(layer.images(start, stop))
        info = self._video_info(layer)
        before = info.num_frames - self.num_frames
        first, end, _ = slice(start, stop).indices(self.num_frames)
        return decode(self.video(layer), info, before + first, before + max(first, end))

    @cached_property
    def _frames(self) -> Layer:
        """The layer `frames`, cached because training reads single frames."""
        return self.layer("frames")

    def frame(self, index: int) -> np.ndarray:
        """Frame `index` alone, uint8 RGB [H, W, 3].

        A video is decoded from an earlier key frame on, or from its first frame if it is not `seekable`.
        """
        if not 0 <= index < self.num_frames:
            raise IndexError(f"frame {index} of {self.num_frames}")
        if self._cached_frames is None or index not in self._cached_frames:
            image = next(self.frames(index, index + 1))
            if self._cached_frames is None:
                return image
            image.flags.writeable = False
            while len(self._cached_frames) >= KEPT_FRAMES:
                del self._cached_frames[next(iter(self._cached_frames))]
            self._cached_frames[index] = image
        return self._cached_frames[index]

    @property
    def seekable(self) -> bool:
        """Whether a single frame can be read without decoding all frames before it."""
        layer = self._frames
        return layer.storage not in ("reference", "video") or self._video_info(layer).seekable

    def frames_digest(self) -> str:
        """The digest that identifies the frames: the sha256 of the source video, or the digest of the stored images."""
        return self.layer("frames").digest

    def audio(self) -> tuple[Media, Fraction] | None:
        """(the sound as an input of ffmpeg, its start in seconds after the first frame), or None without sound."""
        if not self.has("audio"):
            return None
        offset = read_seconds(self.layer("audio").meta, "offset", f"{self.path}/audio/layer.json")
        return self.store.media("audio/audio.mka"), offset

    # Writing

    def needs(self, kind: str, producer: Producer, inputs: Mapping[str, str], overwrite: bool = False) -> bool:
        """Whether the layer must be made. False if it exists and was made from the same inputs in the same way.

        Raises ParametersDiffer, which lists the differences, when it was made in another way and `overwrite` is not set.
        """
        if overwrite:
            return True
        self._layer_when_checked[kind] = self._layer_json(kind)
        if self._layer_when_checked[kind] is None:
            return True
        existing = self.layer(kind).meta
        made_with = {name: existing["producer"].get(name) for name in ("stage", "backend", "parameters", "weights", "seed")}
        differing = differences({**made_with, "inputs": existing["inputs"]}, {**json.loads(producer.key()), "inputs": dict(inputs)})
        if differing:
            raise ParametersDiffer(
                f"{self.path} has a layer {kind} that was made in another way ({'; '.join(differing)})",
                code="output-differs",
            )
        return False

    @contextlib.contextmanager
    def writing(
        self, kind: str, producer: Producer, inputs: Mapping[str, str], meta: Mapping[str, Any] | None = None
    ) -> Iterator[LayerWriter]:
        """Write a layer. It appears, or replaces the previous one, in one step when the block ends without an exception.

        inputs: name -> digest of the layers or files from which it is made. meta: entries of layer.json that describe its numbers. Raises
        InputError for wrong shapes, NaN, or a number of images other than num_frames; then nothing remains. Raises InProgress while another
        process makes the layer, and if another process has made it since `needs` was called.
        """
        if not isinstance(self.store, DirectoryStore):
            raise InputError(f"{self.path} is packed and cannot be added to", code="clip-packed")
        if not is_layer_name(kind):
            raise InputError(f"{kind!r} cannot be the name of a layer")
        with self._lock_layer(kind), building_directory(self.path / kind, replace=True) as folder:
            writer = LayerWriter(kind, folder, self.num_frames, (self.width, self.height))
            yield writer
            writer.finish(producer, inputs, meta or {})
        if kind == "frames":
            self.__dict__.pop("_frames", None)

    @contextlib.contextmanager
    def _lock_layer(self, kind: str) -> Iterator[None]:
        with exclusive_lock(self.path / kind, error_type=InProgress):
            if kind in self._layer_when_checked and self._layer_when_checked.pop(kind) != self._layer_json(kind):
                raise InProgress(f"{self.path / kind} was finished by another process meanwhile", hint="Run the same command again")
            yield

    def _layer_json(self, kind: str) -> bytes | None:
        """The content of layer.json, which identifies a version of the layer; None without the layer."""
        return self.store.read(f"{kind}/layer.json") if self.has(kind) else None

    def require_other_path(self, out: Path) -> None:
        """Raises UsageError when `out` is this clip or its source, so that writing it would replace them."""
        for existing in (self.path, self.source_path()):
            if existing is not None and existing.exists() and out.exists() and existing.samefile(out):
                raise UsageError(f"{out} is its own source, and is not replaced", code="output-taken")

    def source_path(self) -> Path | None:
        """The path of the clip's source, which may no longer exist; None if it has none."""
        path = (self.source or {}).get("path")
        return Path(os.path.abspath(self.path.parent / path)) if isinstance(path, str) and path else None

    def video(self, layer: Layer) -> Media:
        """The video from which the frames are decoded. Raises InputError when it is missing or its size has changed."""
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

    def _video_info(self, layer: Layer) -> VideoInfo:
        """The video that contains the frames, up to the last one of the clip. The clip may start after the first frame of the video."""
        video, name = layer.meta.get("video"), f"{self.path}/frames/layer.json"
        if not isinstance(video, dict):
            raise InvalidClip(f'{name} lacks "video"')
        before = read_integer({"before": 0, **video}, "before", 0, MAX_FRAMES, name)
        return VideoInfo(
            width=self.width,
            height=self.height,
            fps=self.fps,
            num_frames=before + self.num_frames,
            timestamps=None if before else self.timestamps,
            time_base=self.timestamps.time_base if self.timestamps else 1 / self.fps,
            rotation=read_integer({"rotation": 0, **video}, "rotation", -360, 360, name),
            pix_fmt=read_ffmpeg_name(video, "pix_fmt", name),
            has_audio=self.has("audio"),
            duration=(before + self.num_frames) / self.fps,
            start=read_seconds(video, "start", name),
            seekable=video.get("seekable") is True and not (before and self.timestamps),
            colour=Colour(*(read_ffmpeg_name(video, key, name) for key in ("matrix", "primaries", "transfer", "range"))),
            decoder=read_ffmpeg_name(video, "decoder", name),
        )

    def _require_clip_size(self, images: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        for image in images:
            if image.shape != (self.height, self.width, 3):
                raise InvalidClip(f"{self.path}: a frame is {image.shape[1]} x {image.shape[0]}, the clip {self.width} x {self.height}")
            yield image
