"""The videos of a study, H.264 without sound, all encoded with the same settings; and broken copies for catch questions."""

from __future__ import annotations

import random
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from stages.clip import VideoWriter
from stages.evaluate.frame_source import FrameSource, Image

BROKEN_SIZE = 12
"""Pixels of the longer side to which the frames of a broken copy are shrunk before they are enlarged again."""


def encode(source: FrameSource, fps: Fraction, path: Path) -> None:
    """Encode a video nearly losslessly. Browsers play only even sizes, so the last row or column of an odd side is repeated."""
    _write(source.frames(), fps, path)


def encode_broken(source: FrameSource, fps: Fraction, path: Path) -> None:
    """Encode a broken copy: the frames in random order, each blurred to `BROKEN_SIZE` pixels along its longer side."""
    scale = BROKEN_SIZE / max(source.width, source.height)
    size = max(1, round(source.width * scale)), max(1, round(source.height * scale))
    shrunk = [cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in source.frames()]
    random.SystemRandom().shuffle(shrunk)
    full_size = source.width, source.height
    _write((np.asarray(cv2.resize(frame, full_size, interpolation=cv2.INTER_CUBIC), np.uint8) for frame in shrunk), fps, path)


def _write(frames: Iterator[Image], fps: Fraction, path: Path) -> None:
    even = map(_pad_to_even, frames)
    first = next(even)
    with VideoWriter(path, first.shape[1], first.shape[0], fps) as video:
        video.write(first)
        for frame in even:
            video.write(frame)


def _pad_to_even(frame: Image) -> Image:
    height, width, _ = frame.shape
    return np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), "edge") if height % 2 or width % 2 else frame
