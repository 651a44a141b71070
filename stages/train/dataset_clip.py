"""The clips of a dataset as training reads them, and whether they are of the kind that a model wants."""

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
from stages.conditions.kinds import find, open_track
from stages.conditions.tracks import DetectorNoise, Track
from stages.conditions.view import View
from stages.errors import InputError, InvalidClip, NoDetection
from stages.train.augment import Colours


class DatasetClip:
    """One clip of a dataset, opened when it is first needed; a row by reference shows its crops of the original clip.

    What cannot be read raises InputError or InvalidClip with the path and what is wrong, wherever it turns out.
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
        clip = open_clip(self.path)
        if clip.num_frames < self.start + self.num_frames:
            raise InvalidClip(f"{self.path} has {clip.num_frames} frames, and the dataset counts on {self.start + self.num_frames}")
        return clip

    @cached_property
    def track(self) -> Track:
        return open_track(self.clip, self.kind)

    @cached_property
    def usable(self) -> list[int]:
        """Frames of the clip on which something drives. NoDetection when there is none."""
        usable = [index for index in range(self.start, self.start + self.num_frames) if self.track.seen(index)]
        if not usable:
            raise NoDetection(f"{self.path} shows nothing that drives")
        return usable

    def farthest(self, indices: Sequence[int], other: int) -> int:
        """Which of some frames differs most from another one, by the mean distance of the keypoints that both show."""
        if len(indices) == 1:
            return indices[0]
        places, there = self._places
        both = there[list(indices)] & there[other]
        apart = np.linalg.norm(places[list(indices)] - places[other], axis=-1)
        return indices[int((np.where(both, apart, 0).sum(1) / np.maximum(both.sum(1), 1)).argmax())]

    @cached_property
    def _places(self) -> tuple[np.ndarray, np.ndarray]:
        """Keypoints of all frames of the clip [T, N, 2], and whether they are there, [T, N]."""
        whole = View.scaled(self.clip.height, self.clip.width, self.clip.height, self.clip.width)
        points = np.stack([self.track.keypoints(index, whole) for index in range(self.clip.num_frames)])
        return points[..., :2], points[..., 2] > 0

    def close(self) -> None:
        """Forget what was opened; it is opened again when it is needed."""
        for name in ("clip", "track", "usable", "_places"):
            self.__dict__.pop(name, None)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the images."""
        return self.size if self.crops else (self.clip.height, self.clip.width)

    def samples(
        self, indices: Sequence[int], view: View, colours: Colours, noise: DetectorNoise | None, *, regions: bool = False
    ) -> list[Sample]:
        """Frames of the clip through `view` of the row's images, in other colours; with their regions if asked for."""
        views = (self._view_of(index, view) for index in indices)
        return [
            sample_of(self.track, index, seen, colours(seen.image(frame)), noise, regions=regions)
            for index, frame, seen in zip(indices, self._frames(indices), views, strict=True)
        ]

    def _view_of(self, index: int, view: View) -> View:
        """`view` of the row's images as a view of frame `index` of the clip."""
        return View.crop(np.array(self.crops[index - self.start]), *self.size).then(view) if self.crops else view

    def _frames(self, indices: Sequence[int]) -> Iterator[np.ndarray]:
        """Frames of the clip, uint8 [H, W, 3]; those that follow one another at one go, for a video is opened each time."""
        starts = [place for place, index in enumerate(indices) if place == 0 or index != indices[place - 1] + 1]
        for first, end in itertools.pairwise([*starts, len(indices)]):
            yield from self.clip.frames(indices[first], indices[end - 1] + 1)


def check_kind(root: Path, kind: str) -> None:
    """InputError when the dataset in `root` is of another kind than the driving layer of a model, and which preset would fit."""
    header = read_header(root)
    has, wanted = kind_of(header), find(kind).layer
    if has != wanted:
        raise InputError(f"{root} is a dataset of the kind {has}, and the model wants {wanted}", code="dataset-kind", facts={"kind": has})
