"""A clip's driving layer, frame by frame, as the semantic image s_t under any view (crop, scale, rotation, mirror image).

One track per kind of layer; `open_track` chooses. Networks see only what `semantic` returns.
"""

from __future__ import annotations

from typing import Protocol

import cv2
import numpy as np

from stages.clip import Clip, Layer
from stages.conditions import labels, landmarks, poses
from stages.conditions.view import View
from stages.errors import BadInput

SEMANTIC_CHANNELS = {"landmarks": landmarks.SEMANTIC_CHANNELS, "poses": 3}
"""Channels of s_t of each kind that has a fixed number; label maps have one per label."""


class Track(Protocol):
    """What drives a clip."""

    channels: int
    num_frames: int

    def semantic(self, index: int, view: View) -> np.ndarray:
        """s_t of frame `index`: float32 [channels, height, width] in [0, 1]."""
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

    def semantic(self, index: int, view: View) -> np.ndarray:
        return landmarks.semantic_image(self.faces(index, view), view.height, view.width)

    def keypoints(self, index: int, view: View) -> np.ndarray:
        return self.faces(index, view)[0]

    def seen(self, index: int) -> bool:
        return bool(self.points[index, ..., 2].any())

    def picture(self, index: int, view: View) -> np.ndarray:
        sketch = landmarks.draw_sketch(self.faces(index, view), view.height, view.width)
        return np.repeat(sketch[..., None], 3, -1)


class PoseTrack:
    """Bodies: keypoints [T, P, 25, 3] in BODY_25 order."""

    channels = 3

    def __init__(self, keypoints: np.ndarray) -> None:
        self.bodies = keypoints
        self.num_frames = len(keypoints)

    def _people(self, index: int, view: View) -> np.ndarray:
        people = view.points(self.bodies[index])
        return people[:, poses.MIRROR] if view.mirrored else people

    def semantic(self, index: int, view: View) -> np.ndarray:
        return self.picture(index, view).astype(np.float32).transpose(2, 0, 1) / 255

    def keypoints(self, index: int, view: View) -> np.ndarray:
        return self._people(index, view)[0]

    def seen(self, index: int) -> bool:
        return bool(self.bodies[index, ..., 2].any())

    def picture(self, index: int, view: View) -> np.ndarray:
        return poses.draw_pose(self._people(index, view), view.height, view.width)


class LabelTrack:
    """Label maps, one-hot: one channel for each name of the layer's table."""

    def __init__(self, layer: Layer) -> None:
        self.layer = labels.LabelLayer(layer)
        self.channels = len(self.layer.names)
        self.num_frames = layer.num_frames

    def semantic(self, index: int, view: View) -> np.ndarray:
        ids = view.image(self.layer.image(index), cv2.INTER_NEAREST)
        return (ids == np.arange(self.channels, dtype=ids.dtype)[:, None, None]).astype(np.float32)

    def keypoints(self, index: int, view: View) -> np.ndarray:
        return np.zeros((0, 3), np.float32)

    def seen(self, index: int) -> bool:
        return True

    def picture(self, index: int, view: View) -> np.ndarray:
        return labels.colourise(view.image(self.layer.image(index), cv2.INTER_NEAREST), self.layer.table)


def open_track(clip: Clip, kind: str) -> Track:
    """The track of a clip's layer `kind`. Raises BadInput when the clip has no such layer."""
    if not clip.has(kind):
        stage = {"landmarks": "extract-sketch", "poses": "extract-poses", "segment": "segment"}.get(kind)
        raise BadInput(f"{clip.path} has no layer {kind!r}", hint=f"make it with `fsv2v {stage} {clip.path}`" if stage else "")
    layer = clip.layer(kind)
    if kind == "landmarks":
        return LandmarkTrack(layer.arrays()["points"])
    if kind == "poses":
        return PoseTrack(layer.arrays()["keypoints"])
    if kind == "segment":
        return LabelTrack(layer)
    raise BadInput(f"the layer {kind!r} of {clip.path} cannot drive a synthesis", hint="use landmarks, poses or segment")
