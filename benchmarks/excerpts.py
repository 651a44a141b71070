"""Cuts an example clip and a reference clip from a clip of a dataset, in the size of the dataset and with the layers of a driving kind."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from stages.clip import Clip, LayerWriter, Producer, create_clip, open_clip
from stages.conditions.kinds import find_kind
from stages.conditions.kinds.bodies import PoseTrack
from stages.conditions.kinds.faces import LandmarkTrack
from stages.conditions.view import View
from stages.tables.skeletons import POINT_COUNTS
from stages.train.dataset_clip import DatasetClip

EXAMPLES = 4
"""Number of examples by default."""
EXAMPLE_RANGE = 40
"""Examples are taken from this number of frames at the beginning of a clip, or from its first half if that is shorter."""


def cut(
    root: Path, row: dict[str, Any], kind: str, frames: int, out: Path, count: int = EXAMPLES, *, adjacent: bool = False
) -> tuple[Clip, Clip]:
    """Write a clip of examples and a reference clip to the folder `out`, and return them. Clips that exist there are kept.

    root: the folder of the dataset; row: the row of the clip in the dataset's `clips.ndjson`.
    frames: largest number of frames of the reference, which begins after EXAMPLE_RANGE (0: all frames from there).
    count: number of examples, evenly spaced in EXAMPLE_RANGE; if `adjacent`, the last frames of this range, at most `count`.
    """
    source = DatasetClip(root, row, kind)
    usable = source.usable  # frames that show the subject
    border = min(EXAMPLE_RANGE, len(usable) // 2)
    examples = usable[max(0, border - count) : border] if adjacent else [usable[round(i)] for i in np.linspace(0, border - 1, count)]
    reference = list(range(usable[border], source.start + source.num_frames))
    reference = reference[: frames or len(reference)]
    return _write_clip(source, examples, out / "examples.clip"), _write_clip(source, reference, out / "reference.clip")


def _write_clip(source: DatasetClip, indices: Sequence[int], path: Path) -> Clip:
    views = [_view(source, index) for index in indices]
    if not path.exists():
        images = (view.image(source.clip.frame(index)) for index, view in zip(indices, views, strict=True))
        create_clip(path, images, fps=source.clip.fps, storage="png")
    clip = open_clip(path)
    for name in find_kind(source.kind).layers:
        if not clip.has(name):
            original = source.clip.layer(name).meta
            meta: dict[str, Any] = {key: original[key] for key in ("table", "names", "palette", "ids", "skeleton") if key in original}
            producer = Producer("held-out", original["producer"]["backend"], original["producer"]["parameters"])
            with clip.writing(name, producer, {"frames": clip.frames_digest()}, meta) as layer:
                _copy_layer(layer, source, name, indices, views)
    return open_clip(path)


def _view(source: DatasetClip, index: int) -> View:
    height, width = source.shape
    if source.crops:
        return View.crop(np.array(source.crops[index - source.start]), height, width)
    return View.scaled(height, width, height, width)


def _copy_layer(layer: LayerWriter, source: DatasetClip, name: str, indices: Sequence[int], views: Sequence[View]) -> None:
    if name not in ("landmarks", "poses"):
        for index, view in zip(indices, views, strict=True):
            layer.image(view.image(source.clip.layer(name).image(index), cv2.INTER_NEAREST))
    elif isinstance(source.track, LandmarkTrack):
        arrays = {"points": source.track.points, "iris": source.track.iris}
        layer.arrays(
            {key: _transform(views, array[list(indices)]) for key, array in arrays.items() if key == "points" or array.any()}
        )  # a track without irises has zeros
    elif isinstance(source.track, PoseTrack):
        bodies = _transform(views, source.track.bodies[list(indices)])
        ends = np.cumsum(
            list(POINT_COUNTS.values())
        )  # the arrays of a layer lie one after another in `bodies`, which may lack the last ones
        parts = {
            part: bodies[..., end - POINT_COUNTS[part] : end, :]
            for part, end in zip(POINT_COUNTS, ends, strict=True)
            if end <= bodies.shape[2]
        }
        seen = (bodies[..., 2] > 0).any(-1)
        layer.arrays({**parts, "boxes": np.zeros((*seen.shape, 4), np.float32), "track_id": np.where(seen, 0, -1).astype(np.int32)})


def _transform(views: Sequence[View], points: np.ndarray) -> np.ndarray:
    """Points [n, ..., 3] of n frames, transformed by the view of their frame."""
    return np.stack([view.points(frame_points) for view, frame_points in zip(views, points, strict=True)])
