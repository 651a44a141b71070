"""The clips of a dataset, for training; and a check that a dataset is of the kind that a model expects."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from stages.clip import Clip, open_clip
from stages.conditions.dataset_files import kind_of, read_header
from stages.conditions.framing import Sample, sample_of
from stages.conditions.kinds import find_kind, open_track
from stages.conditions.tracks import DetectorNoise, Track
from stages.conditions.view import View
from stages.errors import InputError, InvalidClip, NoDetection
from stages.train.augment import Colours


class DatasetClip:
    """One clip of a dataset, opened when it is first needed. In a dataset that stores references, it is a cropped part of a source clip.

    All members may raise InputError or InvalidClip, with the path and the reason, when the clip cannot be read.
    """

    def __init__(self, root: Path, row: dict[str, Any], kind: str) -> None:
        self.path, self.kind = root / row["clip"], kind
        self.num_frames: int = row["num_frames"]
        self.start: int = row.get("start", 0)
        self.crops: list[list[float]] | None = row.get("crops")
        size = row.get("size", 0)
        self.size: tuple[int, int] = (size, size) if isinstance(size, int) else (size[0], size[1])

    @cached_property
    def clip(self) -> Clip:
        """The clip of the dataset, or the source clip that it refers to."""
        clip = open_clip(self.path)
        if clip.num_frames < self.start + self.num_frames:
            raise InvalidClip(f"{self.path} has {clip.num_frames} frames, but its dataset needs {self.start + self.num_frames}")
        return clip

    @cached_property
    def track(self) -> Track:
        return open_track(self.clip, self.kind)

    @cached_property
    def usable(self) -> list[int]:
        """The frames that show the subject. Raises NoDetection when there is none."""
        usable = [index for index in range(self.start, self.start + self.num_frames) if self.track.seen(index)]
        if not usable:
            raise NoDetection(f"no frame of {self.path} shows its subject")
        return usable

    def farthest(self, indices: Sequence[int], reference: int) -> int:
        """The one of the frames `indices` that differs most from frame `reference`, by the mean distance of their common keypoints."""
        if len(indices) == 1:
            return indices[0]
        positions, visible = self._keypoints
        common = visible[list(indices)] & visible[reference]
        distances = np.linalg.norm(positions[list(indices)] - positions[reference], axis=-1)
        return indices[int((np.where(common, distances, 0).sum(1) / np.maximum(common.sum(1), 1)).argmax())]

    @cached_property
    def _keypoints(self) -> tuple[np.ndarray, np.ndarray]:
        """Positions of the keypoints of all frames [T, N, 2], and whether they are visible, [T, N]."""
        whole = View.scaled(self.clip.height, self.clip.width, self.clip.height, self.clip.width)
        points = np.stack([self.track.keypoints(index, whole) for index in range(self.clip.num_frames)])
        return points[..., :2], points[..., 2] > 0

    def close(self) -> None:
        """Free the memory of the opened clip. It is opened again when it is needed."""
        for name in ("clip", "track", "usable", "_keypoints"):
            self.__dict__.pop(name, None)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the images."""
        return self.size if self.crops else (self.clip.height, self.clip.width)

    def samples(
        self, indices: Sequence[int], view: View, colours: Colours, noise: DetectorNoise | None, *, regions: bool = False
    ) -> list[Sample]:
        """Frames through `view`, recoloured by `colours`; with their regions if asked. `view` applies to images of the size `shape`."""
        views = (self._clip_view(index, view) for index in indices)
        return [
            sample_of(self.track, index, clip_view, colours(clip_view.image(frame)), noise, regions=regions)
            for index, frame, clip_view in zip(indices, self._frames(indices), views, strict=True)
        ]

    def _clip_view(self, index: int, view: View) -> View:
        """The view of frame `index` of the stored clip: its crop, if there is one, followed by `view`."""
        return View.crop(np.array(self.crops[index - self.start]), *self.size).then(view) if self.crops else view

    def _frames(self, indices: Sequence[int]) -> Iterator[np.ndarray]:
        """Frames of the stored clip, uint8 [H, W, 3]. Successive frames are read together, because each read opens the video."""
        starts = [i for i, index in enumerate(indices) if i == 0 or index != indices[i - 1] + 1]
        for first, end in itertools.pairwise([*starts, len(indices)]):
            yield from self.clip.frames(indices[first], indices[end - 1] + 1)


def check_kind(root: Path, kind: str) -> None:
    """Raises InputError when the driving layer of the dataset in `root` is not that of the kind of a model."""
    layer, expected = kind_of(read_header(root)), find_kind(kind).layer
    if layer != expected:
        wrong_kind = f"{root} is a dataset of the kind {layer}, and the model expects {expected}"
        raise InputError(wrong_kind, code="dataset-kind", facts={"kind": layer})
