"""The kinds of material of a dataset, faces, bodies and streets: which frames are usable, how they are cropped, and which layers are
kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import cv2
import numpy as np

from stages.build_dataset.runs import leaps
from stages.clip import Clip, Producer
from stages.conditions import crop
from stages.conditions.labels import LabelLayer, LabelTable
from stages.conditions.poses import MIN_CONFIDENCE, NAMES, person_height, whole_bodies
from stages.conditions.tracks import main_subject
from stages.conditions.view import View
from stages.errors import InputError, NoDetection, UsageError
from stages.skeletons import SIZES

Size = tuple[int, int]
"""Height and width in pixels."""
MIN_JOINTS = 10
"""Smallest number of visible points of BODY_25: a person down to the thighs has more, a head with shoulders fewer."""


class Material:
    """One clip with its driving layer. Raises NoDetection when the layer is empty, InputError when it cannot be used."""

    kind: ClassVar[str]
    """The driving layer."""
    task: ClassVar[str]
    size: ClassVar[Size]
    """Default size of the crops."""
    shows: ClassVar[str]
    """What makes a frame usable, in words."""
    extractor: ClassVar[str]
    also: ClassVar[tuple[str, ...]] = ()
    """Further layers that are kept if the clip has them."""
    labels: LabelTable | None = None

    def __init__(self, clip: Clip) -> None:
        self.clip = clip
        layers = [self.kind, *filter(clip.has, self.also)]
        self.inputs = {"frames": clip.frames_digest(), **{name: clip.layer(name).digest for name in layers}}

    @classmethod
    def check_size(cls, size: Size) -> None:
        """Raises UsageError for a shape that the crops cannot have."""

    def usable(self) -> np.ndarray:
        """Whether each frame can be used, bool [T]."""
        raise NotImplementedError

    def breaks(self) -> np.ndarray:
        """Whether another subject or a jump of the subject begins at each frame, bool [T]; cuts of the video are not included."""
        raise NotImplementedError

    def crops(self, run: slice, size: Size) -> np.ndarray:
        """A crop (left, top, height) of the shape of `size` for each frame of the run, [n, 3]."""
        raise NotImplementedError

    def keep(self, made: Clip, run: slice, views: Sequence[View], producer: Producer) -> None:
        """Write the layers of the clip `made` from the run, transformed by `views`; the driving one last."""
        raise NotImplementedError


class Faces(Material):
    """Heads, by their landmarks."""

    kind, task, size, shows, extractor = "landmarks", "face", (256, 256), "a face", "extract-sketch"

    def __init__(self, clip: Clip) -> None:
        super().__init__(clip)
        arrays = clip.layer("landmarks").arrays()
        chosen = _followed(clip, arrays["points"])
        self.face = {name: array[:, [chosen]] for name, array in arrays.items() if name in ("points", "iris")}
        self.points = self.face["points"][:, 0]

    @classmethod
    def check_size(cls, size: Size) -> None:
        if size[0] != size[1]:
            raise UsageError(f"crops of heads are squares, not {size[0]}x{size[1]}", hint=f"give the size {size[0]}")

    def usable(self) -> np.ndarray:
        return np.asarray(self.points[..., 2].max(1) > 0)

    def breaks(self) -> np.ndarray:
        return leaps(self.points, np.ptp(self.points[..., :2], axis=1).max(-1), crop.JUMP_IN_FACES)

    def crops(self, run: slice, size: Size) -> np.ndarray:
        return crop.smooth_crops(self.points[run], self.clip.width, self.clip.height, float(self.clip.fps))

    def keep(self, made: Clip, run: slice, views: Sequence[View], producer: Producer) -> None:
        with made.writing("landmarks", producer, self.inputs, {"points": "iBUG-68", "units": "pixels"}) as layer:
            layer.arrays({name: _transformed(views, array[run]) for name, array in self.face.items()})


class Bodies(Material):
    """Whole bodies, by their poses, with hands, faces and DensePose if known."""

    kind, task, size, shows, extractor = "poses", "body", (256, 128), "a person", "extract-poses"
    also = ("densepose",)

    def __init__(self, clip: Clip) -> None:
        super().__init__(clip)
        self.layer = clip.layer("poses")
        arrays = self.layer.arrays()
        if arrays["keypoints"].shape[2] != len(NAMES):
            raise InputError(f"{clip.path} has {arrays['keypoints'].shape[2]} keypoints per person, not the {len(NAMES)} of BODY_25")
        chosen, known = _followed(clip, whole_bodies(arrays)), (*SIZES, "boxes", "track_id")
        self.person: Mapping[str, np.ndarray] = {name: arrays[name][:, chosen] for name in known if name in arrays}
        self.body = self.person["keypoints"]

    def usable(self) -> np.ndarray:
        return np.asarray((self.body[..., 2] > MIN_CONFIDENCE).sum(1) >= MIN_JOINTS)

    def breaks(self) -> np.ndarray:
        heights = np.array([person_height(body) for body in self.body])
        other = np.diff(self.person["track_id"], prepend=self.person["track_id"][:1]) != 0
        return np.asarray(leaps(self.body, heights, crop.JUMP_IN_PERSONS) | other)

    def crops(self, run: slice, size: Size) -> np.ndarray:
        clip = self.clip
        return crop.smooth_body_crops(self.body[run], clip.width, clip.height, float(clip.fps), size[1] / size[0])

    def keep(self, made: Clip, run: slice, views: Sequence[View], producer: Producer) -> None:
        if self.clip.has("densepose"):
            _keep_images(made, self.clip, "densepose", run, views, producer, self.inputs)
        person = {name: array[run, None] for name, array in self.person.items()}
        person |= {name: _transformed(views, person[name]) for name in SIZES if name in person}
        person["boxes"] = _transformed_boxes(views, person["boxes"])
        with made.writing("poses", producer, self.inputs, _about(self.layer.meta, "skeleton", "keypoint_names")) as layer:
            layer.arrays(person)


class Streets(Material):
    """Whole images with their label maps."""

    kind, task, size, shows, extractor = "segment", "street", (192, 256), "one scene", "segment"

    def __init__(self, clip: Clip) -> None:
        super().__init__(clip)
        self.labels = LabelLayer(clip.layer("segment")).table

    def usable(self) -> np.ndarray:
        return np.ones(self.clip.num_frames, bool)

    def breaks(self) -> np.ndarray:
        return np.zeros(self.clip.num_frames, bool)

    def crops(self, run: slice, size: Size) -> np.ndarray:
        middle = crop.centre_crop(self.clip.width, self.clip.height, size[1] / size[0])
        return np.tile(middle, (run.stop - run.start, 1))

    def keep(self, made: Clip, run: slice, views: Sequence[View], producer: Producer) -> None:
        _keep_images(made, self.clip, "segment", run, views, producer, self.inputs, "table", "names", "palette", "ids")


MATERIALS: Mapping[str, type[Material]] = {material.kind: material for material in (Faces, Bodies, Streets)}
"""By their layer, in the order in which `--kind auto` looks for them."""


def _followed(clip: Clip, points: np.ndarray) -> int:
    chosen = main_subject(points)
    if chosen is None:
        raise NoDetection(f"{clip.path} shows no subject", code="nothing-detected")
    return chosen


def _transformed(views: Sequence[View], points: np.ndarray) -> np.ndarray:
    """Points [n, ..., 3], each frame's transformed by its view."""
    return np.stack([view.points(of_frame) for view, of_frame in zip(views, points, strict=True)])


def _transformed_boxes(views: Sequence[View], boxes: np.ndarray) -> np.ndarray:
    """Boxes [n, 1, 4] as two corners, each frame's transformed by its view; empty ones stay zeros."""
    corners = np.ones((*boxes.shape[:2], 2, 3), np.float32)
    corners[..., :2] = boxes.reshape(*boxes.shape[:2], 2, 2)
    corners[~boxes.any(-1)] = 0
    return _transformed(views, corners)[..., :2].reshape(boxes.shape)


def _keep_images(
    made: Clip, clip: Clip, kind: str, run: slice, views: Sequence[View], producer: Producer, inputs: Mapping[str, str], *about: str
) -> None:
    """Keep a layer of images, whose values must not be interpolated."""
    source = clip.layer(kind)
    with made.writing(kind, producer, inputs, _about(source.meta, *about)) as layer:
        for image, view in zip(source.images(run.start, run.stop), views, strict=True):
            layer.image(view.image(image, cv2.INTER_NEAREST))


def _about(meta: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: meta[name] for name in names if name in meta}
