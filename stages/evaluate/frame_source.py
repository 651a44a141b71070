"""A source of frames to evaluate: a clip, a video, a folder of images or a single image. It is only read."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stages.clip import Clip, list_images, open_clip, probe, read_frames, read_image
from stages.clip.clip import is_clip
from stages.clip.create import read_same_size
from stages.clip.datasets.recording import VIDEO_SUFFIXES
from stages.clip.images import is_animation, is_image, read_animation
from stages.errors import InputError
from stages.io.digests import file_sha256

Image = NDArray[np.uint8]
RATE_TOLERANCE = 0.01
"""Largest relative difference between frame rates that count as the same."""
SHAPE_TOLERANCE = 0.02
"""Largest relative difference between aspect ratios that count as the same."""


@dataclass(frozen=True)
class FrameSource:
    """`frames()` decodes from the start and yields one uint8 RGB [H, W, 3] at a time; `clip` is None if the source is not a clip."""

    path: str
    width: int
    height: int
    num_frames: int
    frames: Callable[[], Iterator[Image]] = field(compare=False)
    clip: Clip | None = field(default=None, compare=False)
    fps: Fraction | None = field(default=None, compare=False)
    """Frames per second; None for images."""

    def digest(self) -> str:
        """A sha256 of the content of the source's files."""
        path = Path(self.path)
        if self.clip is not None:
            return self.clip.frames_digest()
        if not path.is_dir():
            return file_sha256(path)
        return hashlib.sha256("\n".join(map(file_sha256, list_images(path))).encode()).hexdigest()


def stem(path: str | Path) -> str:
    """The name without folder and suffix; a result and its reference have the same. The name of a folder has no suffix, even with a dot."""
    path = Path(path)
    if path.is_dir() and not is_clip(path):
        return path.name
    return Path(path.name.removesuffix(".zip")).stem


def is_collection(path: Path) -> bool:
    """Whether this is a folder of videos: neither a clip nor a folder of images."""
    return path.is_dir() and not is_clip(path) and not any(map(is_image, path.iterdir()))


def is_frame_source(path: Path) -> bool:
    """Whether an entry of a folder of videos is a source of frames, by its type and name. The folder may hold other files."""
    return is_clip(path) or path.is_dir() or path.suffix.lower() in VIDEO_SUFFIXES


def same_rate(rates: Sequence[Fraction]) -> bool:
    """Whether frames per second are the same but for rounding: 29.97 is the same as 30000/1001."""
    return max(rates) / min(rates) <= 1 + RATE_TOLERANCE


def same_shape(size: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether frames of these (width, height) have about the same aspect ratio, so that they can be compared."""
    return math.isclose(size[0] / size[1], other[0] / other[1], rel_tol=SHAPE_TOLERANCE)


def open_frame_source(path: str) -> FrameSource:
    """Open the source at a path. Raises InputError or InvalidClip when it has no frames that can be read."""
    file_or_folder = Path(path)
    if not file_or_folder.exists():
        raise InputError(f"{path} does not exist")
    if is_clip(file_or_folder):
        return _of_clip(path, open_clip(file_or_folder))
    if is_collection(file_or_folder) and any(
        is_frame_source(entry) for entry in file_or_folder.iterdir() if not entry.name.startswith(".")
    ):
        raise InputError(f"{path} is a folder of clips, videos or folders, not one of them", hint=f"Give its entries: {file_or_folder}/*")
    if file_or_folder.is_dir():
        return _of_images(path, list_images(file_or_folder))
    if is_image(file_or_folder):
        return _of_animation(path) if is_animation(file_or_folder) else _of_images(path, [file_or_folder])
    info = probe(file_or_folder)
    return FrameSource(path, info.width, info.height, info.num_frames, lambda: read_frames(file_or_folder), fps=info.fps)


def _of_clip(path: str, clip: Clip) -> FrameSource:
    return FrameSource(path, clip.width, clip.height, clip.num_frames, clip.frames, clip, clip.fps)


def _of_animation(path: str) -> FrameSource:
    sizes = [(image.shape[1], image.shape[0]) for image, _ in read_animation(Path(path))]
    return FrameSource(path, *sizes[0], len(sizes), lambda: (image for image, _ in read_animation(Path(path))))


def _of_images(path: str, images: list[Path]) -> FrameSource:
    height, width = read_image(images[0]).shape[:2]
    return FrameSource(path, width, height, len(images), lambda: read_same_size(images))
