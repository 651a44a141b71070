"""Drawn streets: sky, a road, and two touching cars that drive to the right, with label maps and instance ids."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stages.clip import Clip, Producer, create_clip, open_clip

LABELS = ("sky", "road", "car", "fence")
"""The drawn streets have no fence."""
SIDE = 64
CAR = LABELS.index("car")


def street_maps(num_frames: int, *, step: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """(label maps, instance ids), uint8 [T, 64, 64] each. The cars have the ids 7 and 9, all else 0; they move by `step` pixels a frame."""
    labels, instances = np.zeros((num_frames, SIDE, SIDE), np.uint8), np.zeros((num_frames, SIDE, SIDE), np.uint8)
    labels[:, 32:] = LABELS.index("road")
    for t in range(num_frames):
        left = 4 + step * t
        labels[t, 30:46, left : left + 24] = CAR
        instances[t, 30:46, left : left + 12], instances[t, 30:46, left + 12 : left + 24] = 7, 9
    return labels, instances


def write_layers(clip: Clip, labels: np.ndarray, instances: np.ndarray | None, names: Sequence[str] = LABELS, **meta: Any) -> None:
    """Write the layer `segment` and, unless it is None, the layer `instances`; `meta` is the latter's metadata."""
    table = {"table": "drawn", "names": list(names), "palette": [[60 * i, 0, 0] for i in range(len(names))]}
    for kind, maps, layer_meta in (("segment", labels, table), ("instances", instances, meta)):
        if maps is not None:
            with clip.writing(kind, Producer("drawn"), {"frames": clip.frames_digest()}, layer_meta) as layer:
                for frame in maps:
                    layer.image(frame)


def make_street(path: Path, seed: int = 0, num_frames: int = 18, *, instances: bool = True, step: int = 1) -> Clip:
    """A clip of 64x64 pixels with the layers `segment` and `instances`. The colours of sky, road and cars depend on the seed."""
    labels, ids = street_maps(num_frames, step=step)
    colours = np.random.default_rng(seed).integers(20, 235, (len(LABELS) + 10, 3)).astype(np.uint8)
    texture = np.random.default_rng(seed + 1).integers(-15, 15, (SIDE, SIDE, 1))
    images = (
        colours[np.where(instance > 0, len(LABELS) + instance % 10, label)].astype(int) + texture
        for label, instance in zip(labels, ids, strict=True)
    )
    clip = create_clip(path, (image.clip(0, 255).astype(np.uint8) for image in images), storage="png")
    write_layers(clip, labels, ids if instances else None)
    return open_clip(path)
