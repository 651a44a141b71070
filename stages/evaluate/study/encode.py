"""The videos of a study: H.264 that every browser plays, without sound, all encoded alike; and broken copies for catch questions."""

from __future__ import annotations

import random
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from stages.clip import VideoWriter
from stages.evaluate.frame_source import FrameSource, Image

COARSE = 12
"""Blocks along the longer side of a broken copy."""


def encode(source: FrameSource, fps: Fraction, path: Path) -> None:
    """Nearly lossless, in a size that browsers play: the last row or column of an odd side is repeated."""
    _write(source.frames(), fps, path)


def encode_broken(source: FrameSource, fps: Fraction, path: Path) -> None:
    """The same frames shuffled, each reduced to `COARSE` spots along its longer side."""
    scale = COARSE / max(source.width, source.height)
    size = max(1, round(source.width * scale)), max(1, round(source.height * scale))
    spots = [cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in source.frames()]  # small, however long the video is
    random.SystemRandom().shuffle(spots)
    full = source.width, source.height
    _write((np.asarray(cv2.resize(frame, full, interpolation=cv2.INTER_CUBIC), np.uint8) for frame in spots), fps, path)


def _write(frames: Iterator[Image], fps: Fraction, path: Path) -> None:
    even = map(_even, frames)
    first = next(even)
    with VideoWriter(path, first.shape[1], first.shape[0], fps) as video:
        video.write(first)
        for frame in even:
            video.write(frame)


def _even(frame: Image) -> Image:
    height, width, _ = frame.shape
    return np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), "edge") if height % 2 or width % 2 else frame
