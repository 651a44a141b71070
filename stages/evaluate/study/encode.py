"""The videos of a study: H.264 that every browser plays, without sound, all of one make; and copies that nobody can prefer."""

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


def encode(footage: FrameSource, fps: Fraction, path: Path) -> None:
    """Nearly lossless, in a size that browsers play: of an odd side the last row or column is there twice."""
    _write(footage.frames(), fps, path)


def encode_broken(footage: FrameSource, fps: Fraction, path: Path) -> None:
    """The same frames shuffled, each so blurred that only `COARSE` spots along its longer side are left."""
    scale = COARSE / max(footage.width, footage.height)
    size = max(1, round(footage.width * scale)), max(1, round(footage.height * scale))
    spots = [cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in footage.frames()]  # small, however long the video is
    random.SystemRandom().shuffle(spots)
    full = footage.width, footage.height
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
