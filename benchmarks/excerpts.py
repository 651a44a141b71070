"""Clips cut from the rows of a dataset, at the size of its images, with the layer that drives a model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from stages.clip import Clip, LayerWriter, Producer, create_clip, open_clip
from stages.conditions.kinds import find
from stages.conditions.kinds.bodies import PoseTrack
from stages.conditions.kinds.faces import LandmarkTrack
from stages.conditions.view import View
from stages.tables.skeletons import SIZES
from stages.train.dataset_clip import DatasetClip

EXAMPLES, AMONG = 4, 40
"""Examples are so many frames, evenly spaced among the first so many of a clip (of a short one, among its first half)."""


def cut(
    root: Path, row: dict[str, Any], kind: str, frames: int, out: Path, count: int = EXAMPLES, *, adjacent: bool = False
) -> tuple[Clip, Clip]:
    """`count` examples, and the frames after those among which they lie, at most `frames` (0: all): what is judged. Made once.

    adjacent: the examples are the frames directly before those that are judged, at most `count`.
    """
    footage = DatasetClip(root, row, kind)
    usable = footage.usable
    among = min(AMONG, len(usable) // 2)
    examples = usable[max(0, among - count) : among] if adjacent else [usable[round(i)] for i in np.linspace(0, among - 1, count)]
    rest = list(range(usable[among], footage.start + footage.num_frames))
    judged = rest[: frames or len(rest)]
    return _part(footage, examples, out / "examples.clip"), _part(footage, judged, out / "judged.clip")


def _part(footage: DatasetClip, indices: Sequence[int], path: Path) -> Clip:
    views = [_view(footage, index) for index in indices]
    if not path.exists():
        images = (view.image(footage.clip.frame(index)) for index, view in zip(indices, views, strict=True))
        create_clip(path, images, fps=footage.clip.fps, storage="png")
    clip = open_clip(path)
    for kind in find(footage.kind).layers:
        if not clip.has(kind):
            source = footage.clip.layer(kind)
            meta: dict[str, Any] = {
                name: source.meta[name] for name in ("table", "names", "palette", "ids", "skeleton") if name in source.meta
            }
            producer = Producer("held-out", source.meta["producer"]["backend"], source.meta["producer"]["parameters"])
            with clip.writing(kind, producer, {"frames": clip.frames_digest()}, meta) as layer:
                _fill(layer, footage, kind, indices, views)
    return open_clip(path)


def _view(footage: DatasetClip, index: int) -> View:
    height, width = footage.shape
    if footage.crops:
        return View.crop(np.array(footage.crops[index - footage.start]), height, width)
    return View.scaled(height, width, height, width)


def _fill(layer: LayerWriter, footage: DatasetClip, kind: str, indices: Sequence[int], views: Sequence[View]) -> None:
    if kind not in ("landmarks", "poses"):
        for index, view in zip(indices, views, strict=True):
            layer.image(view.image(footage.clip.layer(kind).image(index), cv2.INTER_NEAREST))
    elif isinstance(footage.track, LandmarkTrack):
        known = {"points": footage.track.points, "iris": footage.track.iris}
        layer.arrays({name: _through(views, array[list(indices)]) for name, array in known.items() if name == "points" or array.any()})
    elif isinstance(footage.track, PoseTrack):
        bodies = _through(views, footage.track.bodies[list(indices)])
        ends = np.cumsum(list(SIZES.values()))
        parts = {name: bodies[..., end - SIZES[name] : end, :] for name, end in zip(SIZES, ends, strict=True) if end <= bodies.shape[2]}
        seen = (bodies[..., 2] > 0).any(-1)
        layer.arrays({**parts, "boxes": np.zeros((*seen.shape, 4), np.float32), "track_id": np.where(seen, 0, -1).astype(np.int32)})


def _through(views: Sequence[View], points: np.ndarray) -> np.ndarray:
    """Points [n, ..., 3], each frame's through its view."""
    return np.stack([view.points(of_frame) for view, of_frame in zip(views, points, strict=True)])
