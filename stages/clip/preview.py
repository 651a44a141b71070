"""Previews of a clip: a contact sheet and a side-by-side video."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from stages.clip.clip import Clip
from stages.clip.drawing import Overlay
from stages.clip.images import encode
from stages.clip.probe import Timestamps
from stages.clip.provenance import note_of_clip
from stages.clip.writer import VideoWriter
from stages.errors import UsageError
from stages.io.files import building_file, write_bytes

_CAPTION_HEIGHT = 22


def contact_sheet(clip: Clip, path: str | Path, columns: int = 6, cell: int = 240) -> Path:
    """Write a PNG of `columns` evenly spaced frames: a row of the frames, then for each layer a row with the layer drawn over them.

    `cell` is the height of an image in pixels. The layers of a clip without frames are drawn on black.
    """
    indices = evenly_spaced(clip.num_frames, columns)
    frames = [clip.frame(index) if clip.has("frames") else _black(clip) for index in indices]
    captions = [_caption(clip, index) for index in indices]
    rows = [captioned_row([scale_to_height(frame, cell) for frame in frames], [f"frames  {captions[0]}", *captions[1:]])]
    for overlay in _overlays(clip):
        cells = [scale_to_height(overlay.draw(frame, index), cell) for frame, index in zip(frames, indices, strict=True)]
        rows.append(captioned_row(cells, [overlay.kind]))
    with building_file(Path(path)) as hidden:
        write_bytes(hidden, encode(np.concatenate(rows), "png"))
    return Path(path)


def side_by_side(clip: Clip, path: str | Path, height: int = 360) -> Path:
    """Write a video of the frames beside each layer drawn over them, with the sound of the clip. `height` in pixels."""
    overlays = _overlays(clip)
    height -= height % 2
    width = max(2, round(clip.width * height / clip.height / 2) * 2)
    count = len(overlays) + int(clip.has("frames"))
    if count == 0:
        raise UsageError(f"{clip.path} has nothing to show: no frames and no layer that can be drawn")
    with VideoWriter(path, width * count, height, clip.fps, audio_from=clip, note=note_of_clip(clip)) as writer:
        for index, frame in enumerate(_backdrops(clip)):
            panels = [frame] if clip.has("frames") else []
            panels += [overlay.draw(frame, index) for overlay in overlays]
            writer.write(np.concatenate([cv2.resize(panel, (width, height), interpolation=cv2.INTER_AREA) for panel in panels], axis=1))
    return Path(path)


def evenly_spaced(length: int, count: int) -> list[int]:
    """At most `count` different indices, evenly spaced from first to last."""
    return sorted({round(position) for position in np.linspace(0, length - 1, min(count, length))})


def _overlays(clip: Clip) -> list[Overlay]:
    kinds = [kind for kind in clip.layers() if kind != "frames" and clip.layer(kind).payload != "file"]
    return [Overlay(clip, kind) for kind in kinds]


def _backdrops(clip: Clip) -> Iterator[np.ndarray]:
    return clip.frames() if clip.has("frames") else (_black(clip) for _ in range(clip.num_frames))


def _black(clip: Clip) -> np.ndarray:
    return np.zeros((clip.height, clip.width, 3), np.uint8)


def scale_to_height(image: np.ndarray, height: int) -> np.ndarray:
    """The image at this height, with the same aspect ratio."""
    width = max(1, round(image.shape[1] * height / image.shape[0]))
    method = cv2.INTER_AREA if height < image.shape[0] else cv2.INTER_LINEAR
    return cv2.resize(image, (width, height), interpolation=method)


def _caption(clip: Clip, index: int) -> str:
    return f"{index}  {time_text(clip, index)}"


class Timed(Protocol):
    """Anything with frames that have times, such as a clip."""

    fps: Fraction
    timestamps: Timestamps | None


def time_text(clip: Timed, index: int) -> str:
    """The time of a frame as text, such as "1.24 s"."""
    seconds = clip.timestamps.seconds(index) if clip.timestamps else index / clip.fps
    return f"{float(seconds):.2f} s"


def captioned_row(cells: list[np.ndarray], captions: list[str]) -> np.ndarray:
    """Cells side by side, below a strip with their captions. If there are fewer captions than cells, the last cells have none."""
    image = np.concatenate(cells, axis=1)
    strip = np.full((_CAPTION_HEIGHT, image.shape[1], 3), 24, np.uint8)
    for number, caption in enumerate(captions):
        place = (6 + number * cells[0].shape[1], _CAPTION_HEIGHT - 7)
        cv2.putText(strip, caption, place, cv2.FONT_HERSHEY_SIMPLEX, 0.42, (235, 235, 235), 1, cv2.LINE_AA)
    return np.concatenate([strip, image])
