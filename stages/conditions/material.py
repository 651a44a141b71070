"""What a dataset keeps of a clip: which frames are usable, how they are cropped, and which layers are kept."""

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
"""Height and width in pixels."""


class Material:
    """One clip with its driving layer. Raises NoDetection when the layer is empty, InputError when it cannot be used.

    Each driving kind that has datasets derives its own (stages/conditions/kinds). This one takes all frames and a centre crop of each.
    """

    layer: ClassVar[str]
    """The driving layer."""
    task: ClassVar[str]
    """What the dataset shows, in one word; stored in dataset.json."""
    size: ClassVar[Size] = (256, 256)
    """Default size of the crops."""
    shows: ClassVar[str]
    """What a usable frame shows, for messages: "a face"."""
    optional_layers: ClassVar[tuple[str, ...]] = ()
    """Further layers that are kept if the clip has them."""
    labels: LabelTable | None = None

    def __init__(self, clip: Clip) -> None:
        self.clip = clip
        layers = [self.layer, *filter(clip.has, self.optional_layers)]
        self.inputs = {"frames": clip.frames_digest(), **{name: clip.layer(name).digest for name in layers}}

    @classmethod
    def check_size(cls, size: Size) -> None:
        """Raises UsageError for a shape that the crops cannot have."""

    def usable(self) -> np.ndarray:
        """Whether each frame can be used, bool [T]."""
        return np.ones(self.clip.num_frames, bool)

    def breaks(self) -> np.ndarray:
        """Whether the subject changes or jumps at each frame, bool [T]; cuts of the video are not included."""
        return np.zeros(self.clip.num_frames, bool)

    def crops(self, run: slice, size: Size) -> np.ndarray:
        """A crop (left, top, height) of the shape of `size` for each frame of the run, [n, 3]."""
        middle = crop.centre_crop(self.clip.width, self.clip.height, size[1] / size[0])
        return np.tile(middle, (run.stop - run.start, 1))

    def keep(self, made: Clip, run: slice, views: Sequence[View], producer: Producer) -> None:
        """Write the layers of the clip `made` from the run, transformed by `views`; the driving one last."""
        raise NotImplementedError

    def keep_images(self, made: Clip, layer: str, run: slice, views: Sequence[View], producer: Producer, *about: str) -> None:
        """Keep a layer of images, whose values must not be interpolated, and the entries `about` of its layer.json."""
        source = self.clip.layer(layer)
        with made.writing(layer, producer, self.inputs, select_entries(source.meta, *about)) as writer:
            for image, view in zip(source.images(run.start, run.stop), views, strict=True):
                writer.image(view.image(image, cv2.INTER_NEAREST))


def main_subject_of(clip: Clip, points: np.ndarray) -> int:
    """Index of the person of a layer [T, P, N, 3] that a dataset follows. Raises NoDetection when it shows no subject."""
    chosen = main_subject(points)
    if chosen is None:
        raise NoDetection(f"{clip.path} shows no subject", code="nothing-detected")
    return chosen


def jumps(points: np.ndarray, sizes: np.ndarray, max_step: float) -> np.ndarray:
    """Whether points [T, N, 3] jump, bool [T]: those seen in both frames move in the mean by more than `max_step` times `sizes` [T]."""
    both = ((points[1:, :, 2] > 0) & (points[:-1, :, 2] > 0))[..., None]
    moved = (np.diff(points[..., :2], axis=0) * both).sum(1) / np.maximum(both.sum(1), 1)
    leapt = np.linalg.norm(moved, axis=-1) > max_step * np.maximum(sizes[1:], 1)
    return np.asarray(np.r_[False, leapt])


def transformed(views: Sequence[View], points: np.ndarray) -> np.ndarray:
    """Points [n, ..., 3], each frame's transformed by its view."""
    return np.stack([view.points(of_frame) for view, of_frame in zip(views, points, strict=True)])


def transformed_boxes(views: Sequence[View], boxes: np.ndarray) -> np.ndarray:
    """Boxes [n, 1, 4] as two corners, each frame's transformed by its view; empty ones stay zeros."""
    corners = np.ones((*boxes.shape[:2], 2, 3), np.float32)
    corners[..., :2] = boxes.reshape(*boxes.shape[:2], 2, 2)
    corners[~boxes.any(-1)] = 0
    return transformed(views, corners)[..., :2].reshape(boxes.shape)


def select_entries(meta: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """The named entries of a layer.json; absent ones are skipped."""
    return {name: meta[name] for name in names if name in meta}
