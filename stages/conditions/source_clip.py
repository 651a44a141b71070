"""Clips from which build-dataset makes training clips: usable frames, crops, and the layers to write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import cv2
import numpy as np

from stages.clip import Clip, Producer
from stages.conditions import crop
from stages.conditions.labels import LabelTable
from stages.conditions.tracks import main_subject
from stages.conditions.view import View
from stages.errors import NoDetection

Size = tuple[int, int]
"""(height, width) in pixels."""


class SourceClip:
    """A clip with a driving layer. Raises NoDetection when the layer is empty, InputError when it cannot be used.

    Each driving kind with datasets has a subclass (stages/conditions/kinds). This base class uses all frames, with a centre crop of each.
    """

    layer: ClassVar[str]
    """The driving layer."""
    task: ClassVar[str]
    """The subject of the dataset in one word, as in dataset.json."""
    size: ClassVar[Size] = (256, 256)
    """Default size of the crops."""
    shows: ClassVar[str]
    """What a usable frame shows, for messages: "a face"."""
    optional_layers: ClassVar[tuple[str, ...]] = ()
    """Further layers that are written if the clip has them."""
    labels: LabelTable | None = None
    """The label table, for label maps."""

    def __init__(self, clip: Clip) -> None:
        self.clip = clip
        layers = [self.layer, *filter(clip.has, self.optional_layers)]
        self.inputs = {"frames": clip.frames_digest(), **{name: clip.layer(name).digest for name in layers}}

    @classmethod
    def check_size(cls, size: Size) -> None:
        """Raises UsageError if the crops cannot have this shape."""

    def usable(self) -> np.ndarray:
        """Whether each frame can be used, bool [T]."""
        return np.ones(self.clip.num_frames, bool)

    def breaks(self) -> np.ndarray:
        """Whether the subject changes or jumps between the previous frame and each frame, bool [T]; cuts of the video are not included."""
        return np.zeros(self.clip.num_frames, bool)

    def crops(self, run: slice, size: Size) -> np.ndarray:
        """A crop (left, top, height) for each frame of `run`, [n, 3], with the aspect ratio of `size`."""
        centre_crop = crop.centre_crop(self.clip.width, self.clip.height, size[1] / size[0])
        return np.tile(centre_crop, (run.stop - run.start, 1))

    def write_layers(self, target: Clip, run: slice, views: Sequence[View], producer: Producer) -> None:
        """Write the layers of the frames `run`, transformed by `views`, to the clip `target`; the driving layer last."""
        raise NotImplementedError

    def write_images(self, target: Clip, layer: str, run: slice, views: Sequence[View], producer: Producer, *entries: str) -> None:
        """Write a layer of images without interpolating its values. `entries` of its layer.json are copied."""
        source = self.clip.layer(layer)
        with target.writing(layer, producer, self.inputs, select_entries(source.meta, *entries)) as writer:
            for image, view in zip(source.images(run.start, run.stop), views, strict=True):
                writer.image(view.image(image, cv2.INTER_NEAREST))


def main_subject_of(clip: Clip, points: np.ndarray) -> int:
    """Index of the main subject among the persons of a layer [T, P, N, 3]. Raises NoDetection when the layer has no persons."""
    chosen = main_subject(points)
    if chosen is None:
        raise NoDetection(f"{clip.path} shows no subject", code="nothing-detected")
    return chosen


def jumps(points: np.ndarray, sizes: np.ndarray, max_step: float) -> np.ndarray:
    """Whether points [T, N, 3] jump between the previous frame and each frame, bool [T].

    They do if their mean movement is larger than `max_step` times the size of the subject, sizes [T]. Only points that are seen in both
    frames count.
    """
    in_both = ((points[1:, :, 2] > 0) & (points[:-1, :, 2] > 0))[..., None]
    movement = (np.diff(points[..., :2], axis=0) * in_both).sum(1) / np.maximum(in_both.sum(1), 1)
    far = np.linalg.norm(movement, axis=-1) > max_step * np.maximum(sizes[1:], 1)
    return np.asarray(np.r_[False, far])


def transform_points(views: Sequence[View], points: np.ndarray) -> np.ndarray:
    """Points [n, ..., 3] of n frames, transformed by the view of their frame."""
    return np.stack([view.points(frame_points) for view, frame_points in zip(views, points, strict=True)])


def transform_boxes(views: Sequence[View], boxes: np.ndarray) -> np.ndarray:
    """Boxes [n, 1, 4] (two corners), transformed by the view of their frame; empty boxes stay zeros."""
    corners = np.ones((*boxes.shape[:2], 2, 3), np.float32)
    corners[..., :2] = boxes.reshape(*boxes.shape[:2], 2, 2)
    corners[~boxes.any(-1)] = 0
    return transform_points(views, corners)[..., :2].reshape(boxes.shape)


def select_entries(meta: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """The named entries of a layer.json; missing ones are left out."""
    return {name: meta[name] for name in names if name in meta}
