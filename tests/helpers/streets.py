"""Drawn streets: sky, a road, and two cars side by side that drive to the right, with label maps and the numbers of the cars."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stages.clip import Clip, Producer, create_clip, open_clip

LABELS = ("sky", "road", "car", "fence")
"""No street has a fence."""
SIDE = 64
CAR = LABELS.index("car")


def street_maps(num_frames: int, *, step: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Label maps and numbers of cars, uint8 [T, 64, 64] each; the cars are 7 and 9, everything else is 0."""
    labels, numbers = np.zeros((num_frames, SIDE, SIDE), np.uint8), np.zeros((num_frames, SIDE, SIDE), np.uint8)
    labels[:, 32:] = LABELS.index("road")
    for t in range(num_frames):
        left = 4 + step * t
        labels[t, 30:46, left : left + 24] = CAR
        numbers[t, 30:46, left : left + 12], numbers[t, 30:46, left + 12 : left + 24] = 7, 9
    return labels, numbers


def write_layers(clip: Clip, labels: np.ndarray, numbers: np.ndarray | None, names: Sequence[str] = LABELS, **meta: Any) -> None:
    """The layers `segment` and, if there are numbers, `instances`."""
    table = {"table": "drawn", "names": list(names), "palette": [[60 * i, 0, 0] for i in range(len(names))]}
    for kind, maps, about in (("segment", labels, table), ("instances", numbers, meta)):
        if maps is not None:
            with clip.writing(kind, Producer("drawn"), {"frames": clip.frames_digest()}, about) as layer:
                for frame in maps:
                    layer.image(frame)


def make_street(path: Path, seed: int = 0, num_frames: int = 18, *, numbers: bool = True, step: int = 1) -> Clip:
    """A clip of 64x64; the colours of sky, road and cars depend on the seed."""
    labels, cars = street_maps(num_frames, step=step)
    colours = np.random.default_rng(seed).integers(20, 235, (len(LABELS) + 10, 3)).astype(np.uint8)
    ground = np.random.default_rng(seed + 1).integers(-15, 15, (SIDE, SIDE, 1))
    images = (
        colours[np.where(number > 0, len(LABELS) + number % 10, label)].astype(int) + ground
        for label, number in zip(labels, cars, strict=True)
    )
    clip = create_clip(path, (image.clip(0, 255).astype(np.uint8) for image in images), storage="png")
    write_layers(clip, labels, cars if numbers else None)
    return open_clip(path)
