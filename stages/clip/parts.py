"""Parts of a clip as intermediate clips: a span of its time, or some of its frames."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from stages.clip.clip import Clip
from stages.clip.create import create_clip, link_or_copy, stored_path
from stages.clip.layers import Layer, Producer
from stages.clip.preview import evenly_spaced
from stages.clip.probe import Timestamps
from stages.clip.schema import dump
from stages.clip.store import DirectoryStore
from stages.errors import InputError, UsageError
from stages.io.files import explain_write_errors, write_bytes

Span = tuple[Fraction | None, Fraction | None]
"""Seconds [start, stop) from the first frame; None for the beginning and the end."""
WHOLE: Span = (None, None)
_MIN_FRAMES_PER_SEEK = 20
"""If the clip has at most this number of frames for each wanted one, decoding all of them is faster than seeking."""


def exact_span(span: tuple[float | Fraction | None, float | Fraction | None]) -> Span:
    """The span as exact fractions of the written numbers: 0.1 becomes 1/10. Raises UsageError for a span that ends before it begins."""
    start, stop = (None if value is None else Fraction(str(value)) for value in span)
    first = start or Fraction(0)
    if first < 0 or (stop is not None and stop <= first):
        end = "its end" if stop is None else f"{_text(stop)} s"
        raise UsageError(f"a span from {_text(first)} s to {end} is empty", hint="Name the earlier time first")
    return start, stop


def frames_within(clip: Clip, span: Span) -> range:
    """The indices of the frames of a clip whose time lies in a span. Raises InputError when there are none."""
    start, stop = span
    duration = seconds_at(clip, clip.num_frames)
    if start is not None and start >= duration:
        message = f"{clip.path} lasts {_text(duration)} s, and the span begins at {_text(start)} s"
        raise InputError(message, code="span-outside", facts={"seconds": float(duration)})
    first = 0 if start is None else _first_from(clip, start)
    end = clip.num_frames if stop is None or stop >= duration else _first_from(clip, stop)
    if first >= end:
        raise InputError(f"no frame of {clip.path} lies between {_text(start or Fraction(0))} s and {_text(stop or duration)} s")
    return range(first, end)


def part_of(clip: Clip, frames: range, target: Path, layers: Collection[str]) -> Clip:
    """A clip at `target` of consecutive frames of `clip`, with its sound and those of its layers that are named in `layers`.

    Frames that are stored by reference to a video stay there, and are decoded from it; others are stored again, as PNG. The sound is not
    cut: its offset is changed to fit the first frame of the part.
    """
    start = seconds_at(clip, frames.start)

    def fill(part: Clip) -> None:
        if clip.has("frames") and not stored:
            _write_reference(clip, part, frames)
        if clip.has("audio"):
            _write_sound(clip, part, start)
        for kind in clip.layers():
            if kind in layers and kind not in ("frames", "audio"):
                _write_cut_layer(clip.layer(kind), part, frames)

    stored = clip.has("frames") and clip.layer("frames").storage != "reference"
    images = clip.frames(frames.start, frames.stop) if stored else None
    return _create(clip, target, frames, images, fill)


def thinned(clip: Clip, count: int, target: Path) -> Clip:
    """A clip at `target` of `count` >= 2 frames that are evenly spaced in `clip`. It lasts as long, and has no sound and no other layers.

    A clip of at most `count` frames is returned as it is.
    """
    if clip.num_frames <= count:
        return clip
    chosen = evenly_spaced(clip.num_frames, count)
    rate = ((len(chosen) - 1) / seconds_at(clip, chosen[-1])).limit_denominator(100_000)
    return create_clip(target, frames_at(clip, chosen), fps=rate, storage="jpg", source=clip.source)


def frames_at(clip: Clip, indices: Sequence[int]) -> Iterator[np.ndarray]:
    """The frames of a clip at these ascending indices, uint8 RGB [H, W, 3]."""
    if clip.seekable and clip.num_frames > _MIN_FRAMES_PER_SEEK * len(indices):
        yield from map(clip.frame, indices)
        return
    wanted = set(indices)
    yield from (frame for index, frame in enumerate(clip.frames(0, indices[-1] + 1)) if index in wanted)


def seconds_at(clip: Clip, index: int) -> Fraction:
    """The time of frame `index` in seconds; for the index `num_frames`, the end of the clip.

    At a variable rate, the last frame is assumed to last as long as the mean frame.
    """
    if clip.timestamps is None:
        return index / clip.fps
    if index < clip.num_frames:
        return clip.timestamps.seconds(index)
    return clip.timestamps.seconds(index - 1) + 1 / clip.fps


def rate_within(clip: Clip, frames: range) -> tuple[Fraction, Timestamps | None]:
    """Frames per second of consecutive frames, and in a clip of variable rate their times from the first one, else None."""
    if clip.timestamps is None:
        return clip.fps, None
    ticks = clip.timestamps.ticks[frames.start : frames.stop]
    times = Timestamps(clip.timestamps.time_base, tuple(tick - ticks[0] for tick in ticks))
    return ((len(ticks) - 1) / times.seconds(-1)).limit_denominator(100_000) if len(ticks) > 1 else clip.fps, times


def _create(clip: Clip, target: Path, frames: range, images: Iterator[np.ndarray] | None, fill: Callable[[Clip], None]) -> Clip:
    fps, times = rate_within(clip, frames)
    source, place = clip.source, clip.source_path()
    if source is not None and place is not None:
        source = {**source, "path": stored_path(place, target), "range": [frames.start, frames.stop]}
    width, height, count = (clip.width, clip.height, len(frames)) if images is None else (None, None, None)
    return create_clip(target, images, fps=fps, width=width, height=height, num_frames=count, source=source, timestamps=times, fill=fill)


def _first_from(clip: Clip, time: Fraction) -> int:
    """The index of the first frame at or after a time in seconds."""
    if clip.timestamps is None:
        return math.ceil(time * clip.fps)
    times = (clip.timestamps.seconds(index) for index in range(clip.num_frames))
    return next((index for index, at in enumerate(times) if at >= time), clip.num_frames)


def _text(time: Fraction) -> str:
    return f"{float(time):.3f}".rstrip("0").rstrip(".")


def _write_reference(clip: Clip, part: Clip, frames: range) -> None:
    """Write the layer `frames` of a part: a reference to the video, and the number of its frames before the part."""
    meta = clip.layer("frames").meta
    earlier = int(meta["video"].get("before", 0))
    value = {**meta, "num_frames": len(frames), "video": {**meta["video"], "before": earlier + frames.start}}
    _write_meta(part, "frames", value)


def _write_sound(clip: Clip, part: Clip, start: Fraction) -> None:
    """Write the layer `audio` of a part that starts at `start` seconds: the whole sound, with an offset that is smaller by `start`."""
    meta = clip.layer("audio").meta
    name = str(meta["file"])
    offset = Fraction(str(meta["offset"])) - start
    _write_meta(part, "audio", {**meta, "num_frames": part.num_frames, "offset": str(offset)})
    if isinstance(clip.store, DirectoryStore):
        with explain_write_errors(part.path):
            link_or_copy(clip.path / "audio" / name, part.path / "audio" / name)
    else:
        write_bytes(part.path / "audio" / name, clip.store.read(f"audio/{name}"))


def _write_meta(part: Clip, kind: str, value: dict[str, Any]) -> None:
    with explain_write_errors(part.path):
        (part.path / kind).mkdir()
    write_bytes(part.path / kind / "layer.json", dump(value))


def _write_cut_layer(layer: Layer, part: Clip, frames: range) -> None:
    old = layer.meta["producer"]
    producer = Producer(str(old["stage"]), str(old["backend"]), {"of": layer.digest, "range": [frames.start, frames.stop]})
    with part.writing(layer.kind, producer, {}, _description(layer)) as writer:
        if layer.payload == "arrays":
            writer.arrays({name: array[frames.start : frames.stop] for name, array in layer.arrays().items()})
        else:
            for image in layer.images(frames.start, frames.stop):
                writer.image(image)


def _description(layer: Layer) -> dict[str, Any]:
    """The entries of layer.json about the meaning of the numbers, such as names and palette."""
    written = ("schema", "kind", "num_frames", "producer", "inputs", "digest", "bytes")
    return {name: value for name, value in layer.meta.items() if name not in written}
