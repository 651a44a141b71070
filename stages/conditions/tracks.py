"""A clip's driving layer, frame by frame, as the semantic image s_t under any view (crop, scale, rotation, mirror image).

One track per kind of layer; `open_track` chooses. Networks see only what `semantic` returns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import cv2
import numpy as np

from stages.clip import Clip, Layer
from stages.conditions import labels, landmarks, poses
from stages.conditions.view import View
from stages.errors import BadInput, UsageProblem

SEMANTIC_CHANNELS = {"landmarks": landmarks.SEMANTIC_CHANNELS, "poses": 3, "poses+densepose": 6}
"""Channels of s_t of each kind that has a fixed number; label maps have one per label, void excepted."""

DENSEPOSE_MIRROR = np.array(
    [0, 1, 2, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15, 18, 17, 20, 19, 22, 21, 24, 23, *range(25, 256)], dtype=np.uint8
)
"""DensePose's 24 parts with left and right exchanged."""


class Track(Protocol):
    """What drives a clip."""

    channels: int
    num_frames: int

    def semantic(self, index: int, view: View, damage: np.random.Generator | None = None) -> np.ndarray:
        """s_t of frame `index`: float32 [channels, height, width] in [0, 1].

        With `damage` what drives is as faulty as a detector's, at random: for training.
        """
        ...

    def keypoints(self, index: int, view: View) -> np.ndarray:
        """Points that must correspond between frames, float32 [N, 3]; N may be 0."""
        ...

    def seen(self, index: int) -> bool:
        """Whether anything is there to draw."""
        ...

    def picture(self, index: int, view: View) -> np.ndarray:
        """What a person would draw of frame `index`: uint8 RGB [height, width, 3]."""
        ...


class LandmarkTrack:
    """Faces: landmarks [T, P, 68, 3]."""

    channels = landmarks.SEMANTIC_CHANNELS

    def __init__(self, points: np.ndarray) -> None:
        self.points = points
        self.num_frames = len(points)

    def faces(self, index: int, view: View) -> np.ndarray:
        points = view.points(self.points[index])
        return points[:, landmarks.MIRROR] if view.mirrored else points

    def semantic(self, index: int, view: View, damage: np.random.Generator | None = None) -> np.ndarray:
        return landmarks.semantic_image(self.faces(index, view), view.height, view.width)

    def keypoints(self, index: int, view: View) -> np.ndarray:
        return self.faces(index, view)[0]

    def seen(self, index: int) -> bool:
        return bool(self.points[index, ..., 2].any())

    def picture(self, index: int, view: View) -> np.ndarray:
        sketch = landmarks.draw_sketch(self.faces(index, view), view.height, view.width)
        return np.repeat(sketch[..., None], 3, -1)


class PoseTrack:
    """Bodies: keypoints [T, P, 25, 3] in BODY_25 order, or [T, P, 137, 3] with hands and faces, which are drawn too."""

    channels = 3

    def __init__(self, keypoints: np.ndarray) -> None:
        self.bodies = keypoints
        self.num_frames = len(keypoints)

    def _people(self, index: int, view: View) -> np.ndarray:
        people = view.points(self.bodies[index])
        return poses.mirrored(people) if view.mirrored else people

    def semantic(self, index: int, view: View, damage: np.random.Generator | None = None) -> np.ndarray:
        people = self._people(index, view)
        if damage is not None:
            people = poses.damaged(people, damage)
        return poses.draw_pose(people, view.height, view.width).astype(np.float32).transpose(2, 0, 1) / 255

    def keypoints(self, index: int, view: View) -> np.ndarray:
        return self._people(index, view)[0, : len(poses.NAMES)]

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

    def semantic(self, index: int, view: View, damage: np.random.Generator | None = None) -> np.ndarray:
        iuv = view.image(self.surface.image(index), cv2.INTER_NEAREST)
        parts = DENSEPOSE_MIRROR[iuv[..., 0]] if view.mirrored else iuv[..., 0]
        surface = np.stack([parts / 24, iuv[..., 1] / 255, iuv[..., 2] / 255]).clip(0, 1)
        return np.concatenate([super().semantic(index, view, damage), surface.astype(np.float32)])


class LabelTrack:
    """Label maps, one-hot: one channel for each name of the layer's table. What is void, whether it has a name or not, is in none.

    A mirrored view exchanges what is named left and right.
    """

    def __init__(self, layer: Layer) -> None:
        self.layer = labels.LabelLayer(layer)
        self.mirror = labels.mirror(self.layer.names)
        self.ids = np.array([index for index, name in enumerate(self.layer.names) if name != "void"], np.uint8)
        self.channels = len(self.ids)
        self.num_frames = layer.num_frames

    def semantic(self, index: int, view: View, damage: np.random.Generator | None = None) -> np.ndarray:
        return (self._seen_through(view, index) == self.ids[:, None, None]).astype(np.float32)

    def _seen_through(self, view: View, index: int) -> np.ndarray:
        ids = view.image(self.layer.image(index), cv2.INTER_NEAREST)
        return self.mirror[ids] if view.mirrored else ids

    def keypoints(self, index: int, view: View) -> np.ndarray:
        return np.zeros((0, 3), np.float32)

    def seen(self, index: int) -> bool:
        return True

    def picture(self, index: int, view: View) -> np.ndarray:
        return labels.colourise(self._seen_through(view, index), self.layer.table)


BROUGHT: dict[str, Callable[[Clip], Track]] = {}
"""Tracks of kinds that are not ours, by kind: what a generator of one's own is driven by (stages/networks/methods.py)."""


def open_track(clip: Clip, kind: str) -> Track:
    """The track of a clip's layer `kind`; "poses+densepose" wants both layers. It follows one subject: who is seen most.

    Raises BadInput when the clip lacks a layer.
    """
    if kind in BROUGHT:
        return BROUGHT[kind](clip)
    for name in kind.split("+"):
        if not clip.has(name):
            raise BadInput(f"{clip.path} has no layer {name!r}", hint=_REMEDY.get(name, "").format(clip.path))
    if kind == "landmarks":
        return LandmarkTrack(only_main(clip.layer("landmarks").arrays()["points"]))
    if kind == "poses":
        return PoseTrack(only_main(poses.whole_bodies(clip.layer("poses").arrays())))
    if kind == "poses+densepose":
        return DensePoseTrack(only_main(poses.whole_bodies(clip.layer("poses").arrays())), clip.layer("densepose"))
    if kind == "segment":
        return LabelTrack(clip.layer("segment"))
    raise BadInput(f"the layer {kind!r} of {clip.path} cannot drive a synthesis", hint="use landmarks, poses or segment")


def require_channels(clip: Clip, found: int, wanted: int) -> None:
    """UsageProblem when a clip's semantic images have other channels than a model was made for: other labels, most of the time."""
    if found != wanted:
        hint = "label maps must be of the table that the model was trained on; a recipe says how many labels (semantic_channels)"
        raise UsageProblem(f"the semantic images of {clip.path} have {found} channels, the model wants {wanted}", hint=hint)


def layers_digest(clip: Clip, kind: str) -> str:
    """Of the layer, or the layers, that a model of this kind is driven by."""
    return "+".join(clip.layer(name).digest if clip.has(name) else "" for name in kind.split("+"))


def main_subject(points: np.ndarray) -> int | None:
    """Who of the persons of a layer [T, P, N, 3] is seen in most frames: a video is made of one. None of a layer without persons."""
    seen = points[..., 2].any(-1).sum(0)
    return int(seen.argmax()) if len(seen) else None


def only_main(points: np.ndarray) -> np.ndarray:
    """Of [T, P, N, 3] the main subject alone, [T, 1, N, 3]."""
    chosen = main_subject(points)
    return np.zeros((len(points), 1, *points.shape[2:]), points.dtype) if chosen is None else points[:, [chosen]]


_REMEDY = {
    "landmarks": "make it with `fsv2v extract-sketch {}`",
    "poses": "make it with `fsv2v extract-poses {}`",
    "segment": "make it with `fsv2v segment {}`",
    "densepose": "run DensePose and import its IUV pictures with `fsv2v clip import --layout densepose`",
}
