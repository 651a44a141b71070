"""The driving kind of label maps, of streets or any other scene, with instances if they are known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from stages.clip import Clip, Producer
from stages.conditions import labels
from stages.conditions.kinds.kind import Kind
from stages.conditions.regions import regions_of
from stages.conditions.source_clip import SourceClip
from stages.conditions.tracks import DetectorNoise, Track
from stages.conditions.view import View

if TYPE_CHECKING:
    import torch


class LabelTrack(Track):
    """s_t is a one-hot label map with one channel for each label of the layer's table except void; void pixels are 0 in all channels.

    A mirrored view exchanges labels whose names contain left and right. instances: the layer `instances`, if the clip has it; keypoints
    are then two opposite corners of the box of each large instance. path: that of the clip, for error messages.
    """

    def __init__(self, layer: labels.LabelSource, instances: labels.LabelSource | None = None, path: Path | None = None) -> None:
        self.layer = labels.LabelLayer(layer, path)
        self.instances = None if instances is None else labels.InstanceLayer(instances, path)
        self.mirror = labels.mirror_lookup(self.layer.names)
        self.ids = np.array([index for index, name in enumerate(self.layer.names) if name != "void"], np.uint8)
        self.names = tuple(self.layer.names[index] for index in self.ids)
        self.channel_of = np.full(256, labels.VOID, np.uint8)
        self.channel_of[self.ids] = np.arange(len(self.ids))
        self.channels = len(self.ids)
        self.num_frames = layer.num_frames

    def semantic(self, index: int, view: View, noise: DetectorNoise | None = None) -> np.ndarray:
        one_hot: np.ndarray = (self._label_map(index, view) == self.ids[:, None, None]).astype(np.float32)
        return one_hot

    def regions(self, index: int, view: View) -> np.ndarray:
        return regions_of(*self.channels_and_instances(index, view))

    def channels_and_instances(self, index: int, view: View) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
        """For each pixel of a frame the channel of its label, 255 for void, and its instance number if known; uint8 [H, W] each."""
        channels = self.channel_of[self._label_map(index, view)]
        return channels, None if self.instances is None else view.image(self.instances.image(index), cv2.INTER_NEAREST)

    def _label_map(self, index: int, view: View) -> np.ndarray:
        """Label ids of a frame through the view, uint8 [H, W]."""
        ids = view.image(self.layer.image(index), cv2.INTER_NEAREST)
        return self.mirror[ids] if view.mirrored else ids

    def keypoints(self, index: int, view: View, noise: DetectorNoise | None = None) -> np.ndarray:
        if self.instances is None:
            return np.zeros((2 * labels.INSTANCES_FOLLOWED, 3), np.float32)
        return labels.box_corners(view.image(self.instances.image(index), cv2.INTER_NEAREST), self.instances.followed)

    def drawing(self, index: int, view: View) -> np.ndarray:
        return labels.colourise(self._label_map(index, view), self.layer.table)


def _open(clip: Clip) -> LabelTrack:
    return LabelTrack(clip.layer("segment"), clip.layer("instances") if clip.has("instances") else None, clip.path)


def draw(semantic: torch.Tensor) -> torch.Tensor:
    """Each label in a colour of its own."""
    import torch

    angles = torch.arange(semantic.shape[1], device=semantic.device) * 2.4  # the golden angle, so that the hues of successive labels differ
    colours = torch.stack([torch.cos(angles + phase) for phase in (0.0, 2.1, 4.2)], 1)
    return torch.einsum("bshw,sc->bchw", semantic, colours)


class StreetSourceClip(SourceClip):
    """A clip of a scene. Frames are cropped only to the shape of the dataset; instance numbers are written if the clip has them."""

    layer, task, size, shows = "segment", "street", (192, 256), "one scene"
    optional_layers = ("instances",)

    def __init__(self, clip: Clip) -> None:
        super().__init__(clip)
        self.labels = labels.LabelLayer(clip.layer("segment"), clip.path).table

    def write_layers(self, target: Clip, run: slice, views: Sequence[View], producer: Producer) -> None:
        if self.clip.has("instances"):
            self.write_images(target, "instances", run, views, producer, "ids", "values")
        self.write_images(target, "segment", run, views, producer, "table", "names", "palette", "ids")


KIND = Kind(
    name="segment",
    layers=("segment",),
    open=_open,
    draw=draw,
    also_read=("instances",),
    dataset=StreetSourceClip,
    extractor="stages.segment:extract_missing",
    default_model="street-256.safetensors",
)
