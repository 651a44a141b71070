"""A clip's driving layer, frame by frame, as the semantic image s_t under any view (crop, scale, rotation, mirror image).

One track per kind of layer; `open_track` chooses. Networks see only what `semantic` returns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from stages.clip import Clip, Layer
from stages.conditions import labels, landmarks, poses
from stages.conditions.view import View
from stages.errors import InputError, UsageError

SEMANTIC_CHANNELS = {
    "landmarks": landmarks.SEMANTIC_CHANNELS, "landmarks+iris": landmarks.SEMANTIC_CHANNELS + landmarks.PUPIL_CHANNELS,
    "poses": 3, "poses+densepose": 6,
}  # fmt: skip
"""Channels of s_t of each kind that has a fixed number; label maps have one per label, void excepted."""

IRIS_DROPPED = 0.25
"""Share of the training windows, and of the sets of examples, whose irises are left out: one model serves with and without."""

DENSEPOSE_MIRROR = np.array(
    [0, 1, 2, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15, 18, 17, 20, 19, 22, 21, 24, 23, *range(25, 256)], dtype=np.uint8
)
"""DensePose's 24 parts with left and right exchanged."""


@dataclass(frozen=True)
class DetectorNoise:
    """How what drives a window of training is as faulty as a detector's; the same for the same seed."""

    seed: int
    noisy: bool = True
    """Whether points tremble and are missing in single frames, too."""

    def of_window(self) -> np.random.Generator:
        """Random numbers that all frames of the window share."""
        return np.random.default_rng(self.seed)

    def of_frame(self, index: int) -> np.random.Generator:
        """Random numbers of one frame, whoever asks for them."""
        return np.random.default_rng([self.seed, index])


class Track(Protocol):
    """What drives a clip."""

    channels: int
    num_frames: int

    def semantic(self, index: int, view: View, noise: DetectorNoise | None = None) -> np.ndarray:
        """s_t of frame `index`: float32 [channels, height, width] in [0, 1]."""
        ...

    def keypoints(self, index: int, view: View, noise: DetectorNoise | None = None) -> np.ndarray:
        """Points that correspond between frames, float32 [N, 3]; N is the same for all clips of a kind, and may be 0."""
        ...

    def seen(self, index: int) -> bool:
        """Whether anything is there to draw."""
        ...

    def picture(self, index: int, view: View) -> np.ndarray:
        """What a person would draw of frame `index`: uint8 RGB [height, width, 3]."""
        ...


class LandmarkTrack:
    """Faces: landmarks [T, P, 68, 3], and irises [T, P, 10, 3] where they are known; with `pupils` these are part of s_t."""

    def __init__(self, points: np.ndarray, iris: np.ndarray | None = None, *, pupils: bool = False) -> None:
        self.points, self.pupils = points, pupils
        self.iris = np.zeros((*points.shape[:2], landmarks.IRIS_POINTS, 3), np.float32) if iris is None else iris
        self.channels = SEMANTIC_CHANNELS["landmarks+iris" if pupils else "landmarks"]
        self.num_frames = len(points)

    def faces(self, index: int, view: View) -> np.ndarray:
        points = view.points(self.points[index])
        return points[:, landmarks.MIRROR] if view.mirrored else points

    def _irises(self, index: int, view: View, noise: DetectorNoise | None) -> np.ndarray:
        irises = view.points(self.iris[index])
        if noise is not None and noise.of_window().random() < IRIS_DROPPED:
            irises = np.zeros_like(irises)
        return irises[:, landmarks.MIRROR_IRISES] if view.mirrored else irises

    def semantic(self, index: int, view: View, noise: DetectorNoise | None = None) -> np.ndarray:
        faces = self.faces(index, view)
        maps = landmarks.semantic_image(faces, view.height, view.width)
        if not self.pupils:
            return maps
        drawn = landmarks.draw_irises(faces, self._irises(index, view, noise), view.height, view.width)
        return np.concatenate([maps, drawn[None] / np.float32(255)])

    def keypoints(self, index: int, view: View, noise: DetectorNoise | None = None) -> np.ndarray:
        return np.concatenate([self.faces(index, view)[0], self._irises(index, view, noise)[0]])

    def seen(self, index: int) -> bool:
        return bool(self.points[index, ..., 2].any())

    def picture(self, index: int, view: View) -> np.ndarray:
        faces = self.faces(index, view)
        sketch = landmarks.draw_sketch(faces, view.height, view.width)
        drawn = np.maximum(sketch, landmarks.draw_irises(faces, self._irises(index, view, None), view.height, view.width))
        return np.repeat(drawn[..., None], 3, -1)


class PoseTrack:
    """Bodies: keypoints [T, P, 25, 3] in BODY_25 order, or [T, P, 137, 3] with hands and faces, which are drawn too."""

    channels = 3

    def __init__(self, keypoints: np.ndarray) -> None:
        self.bodies = keypoints
        self.num_frames = len(keypoints)

    def _people(self, index: int, view: View, noise: DetectorNoise | None = None) -> np.ndarray:
        people = view.points(self.bodies[index])
        people = poses.mirrored(people) if view.mirrored else people
        return poses.noisy(people, noise.of_frame(index)) if noise is not None and noise.noisy else people

    def semantic(self, index: int, view: View, noise: DetectorNoise | None = None) -> np.ndarray:
        people = self._people(index, view, noise)
        return poses.draw_pose(people, view.height, view.width).astype(np.float32).transpose(2, 0, 1) / 255

    def keypoints(self, index: int, view: View, noise: DetectorNoise | None = None) -> np.ndarray:
        """BODY_25 and both hands behind it, [67, 3]; hands that are not known have confidence 0."""
        return poses.with_hands(self._people(index, view, noise)[0])

    def seen(self, index: int) -> bool:
        return bool(self.bodies[index, ..., 2].any())

    def picture(self, index: int, view: View) -> np.ndarray:
        return poses.draw_pose(self._people(index, view), view.height, view.width)


class DensePoseTrack(PoseTrack):
    """Bodies whose surface is known too: the drawn skeletons, then part / 24, U and V of the layer `densepose`.

    A mirrored view exchanges left and right parts; U and V stay, as they run differently on each part.
    """

    channels = 6

    def __init__(self, keypoints: np.ndarray, surface: Layer) -> None:
        super().__init__(keypoints)
        self.surface = surface

    def semantic(self, index: int, view: View, noise: DetectorNoise | None = None) -> np.ndarray:
        iuv = view.image(self.surface.image(index), cv2.INTER_NEAREST)
        parts = DENSEPOSE_MIRROR[iuv[..., 0]] if view.mirrored else iuv[..., 0]
        surface = np.stack([parts / 24, iuv[..., 1] / 255, iuv[..., 2] / 255]).clip(0, 1)
        return np.concatenate([super().semantic(index, view, noise), surface.astype(np.float32)])


class LabelTrack:
    """Label maps, one-hot: one channel for each name of the layer's table. What is void, whether it has a name or not, is in none.

    A mirrored view exchanges what is named left and right. instances: the layer of that name, if there is one; two opposite corners of the
    box of each large instance are then the keypoints.
    """

    def __init__(self, layer: Layer, instances: Layer | None = None) -> None:
        self.layer = labels.LabelLayer(layer)
        self.instances = None if instances is None else labels.InstanceLayer(instances)
        self.mirror = labels.mirror(self.layer.names)
        self.ids = np.array([index for index, name in enumerate(self.layer.names) if name != "void"], np.uint8)
        self.channels = len(self.ids)
        self.num_frames = layer.num_frames

    def semantic(self, index: int, view: View, noise: DetectorNoise | None = None) -> np.ndarray:
        return (self._seen_through(view, index) == self.ids[:, None, None]).astype(np.float32)

    def _seen_through(self, view: View, index: int) -> np.ndarray:
        ids = view.image(self.layer.image(index), cv2.INTER_NEAREST)
        return self.mirror[ids] if view.mirrored else ids

    def keypoints(self, index: int, view: View, noise: DetectorNoise | None = None) -> np.ndarray:
        if self.instances is None:
            return np.zeros((2 * labels.INSTANCES_FOLLOWED, 3), np.float32)
        return labels.corners(view.image(self.instances.image(index), cv2.INTER_NEAREST), self.instances.followed)

    def seen(self, index: int) -> bool:
        return True

    def picture(self, index: int, view: View) -> np.ndarray:
        return labels.colourise(self._seen_through(view, index), self.layer.table)


_OPENERS: dict[str, Callable[[Clip], Track]] = {}


def register(kind: str, opener: Callable[[Clip], Track]) -> None:
    """Make `open_track` call `opener` for a kind of driving that is not the package's own."""
    _OPENERS[kind] = opener


def open_track(clip: Clip, kind: str) -> Track:
    """The track of a clip's layer `kind`; "poses+densepose" wants both layers, "landmarks+iris" draws the irises where the layer
    landmarks has them. It follows one subject: who is seen most.

    Raises InputError when the clip lacks a layer.
    """
    if kind in _OPENERS:
        return _OPENERS[kind](clip)
    for name in layers_of(kind):
        if not clip.has(name):
            raise InputError(f"{clip.path} has no layer {name!r}", hint=_REMEDY.get(name, "").format(clip.path))
    if kind in ("landmarks", "landmarks+iris"):
        arrays = clip.layer("landmarks").arrays()
        iris = only(main_subject(arrays["points"]), arrays["iris"]) if "iris" in arrays else None
        return LandmarkTrack(only_main(arrays["points"]), iris, pupils=kind == "landmarks+iris")
    if kind == "poses":
        return PoseTrack(only_main(poses.whole_bodies(clip.layer("poses").arrays())))
    if kind == "poses+densepose":
        return DensePoseTrack(only_main(poses.whole_bodies(clip.layer("poses").arrays())), clip.layer("densepose"))
    if kind == "segment":
        return LabelTrack(clip.layer("segment"), clip.layer("instances") if clip.has("instances") else None)
    raise InputError(f"the layer {kind!r} of {clip.path} cannot drive a synthesis", hint="use landmarks, poses or segment")


def require_channels(clip: Clip, found: int, wanted: int) -> None:
    """UsageError when a clip's semantic images have other channels than a model was made for: other labels, most of the time."""
    if found != wanted:
        hint = "label maps must be of the table that the model was trained on; a recipe says how many labels (semantic_channels)"
        raise UsageError(f"the semantic images of {clip.path} have {found} channels, the model wants {wanted}", hint=hint)


def layers_of(kind: str) -> tuple[str, ...]:
    """The layers of a clip that drive a model of this kind."""
    return tuple(name for name in kind.split("+") if name != "iris")


def layers_digest(clip: Clip, kind: str) -> str:
    """Of the layer, or the layers, that a model of this kind is driven by."""
    return "+".join(clip.layer(name).digest if clip.has(name) else "" for name in layers_of(kind))


def main_subject(points: np.ndarray) -> int | None:
    """Who of the persons of a layer [T, P, N, 3] is seen in most frames: a video is made of one. None of a layer without persons."""
    seen = points[..., 2].any(-1).sum(0)
    return int(seen.argmax()) if len(seen) else None


def only_main(points: np.ndarray) -> np.ndarray:
    """Of [T, P, N, 3] the main subject alone, [T, 1, N, 3]."""
    return only(main_subject(points), points)


def only(chosen: int | None, points: np.ndarray) -> np.ndarray:
    """One subject of [T, P, N, 3] alone, [T, 1, N, 3]; zeros if `chosen` is None."""
    return np.zeros((len(points), 1, *points.shape[2:]), points.dtype) if chosen is None else points[:, [chosen]]


_REMEDY = {
    "landmarks": "make it with `fsv2v extract-sketch {}`",
    "poses": "make it with `fsv2v extract-poses {}`",
    "segment": "make it with `fsv2v segment {}`",
    "densepose": "run DensePose and import its IUV pictures with `fsv2v clip import --layout densepose`",
}
