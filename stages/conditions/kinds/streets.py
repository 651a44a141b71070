"""Streets, or any other scene: label maps, and instances where they are known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from stages.clip import Clip, Producer
from stages.conditions import labels
from stages.conditions.kinds.kind import Keypoints, Kind
from stages.conditions.material import Material
from stages.conditions.regions import regions_of
from stages.conditions.tracks import DetectorNoise, Track
from stages.conditions.view import View

if TYPE_CHECKING:
    import torch


class LabelTrack(Track):
    """Label maps, one-hot: one channel for each name of the layer's table. What is void, with a name or without, is in none.

    A mirrored view exchanges what is named left and right. instances: the layer of that name, if there is one; two opposite corners of the
    box of each large instance are then the keypoints. path: the clip's, for errors.
    """

    def __init__(self, layer: labels.LabelSource, instances: labels.LabelSource | None = None, path: Path | None = None) -> None:
        self.layer = labels.LabelLayer(layer, path)
        self.instances = None if instances is None else labels.InstanceLayer(instances, path)
        self.mirror = labels.mirror(self.layer.names)
        self.ids = np.array([index for index, name in enumerate(self.layer.names) if name != "void"], np.uint8)
        self.names = tuple(self.layer.names[index] for index in self.ids)
        self.channel_of = np.full(256, labels.VOID, np.uint8)
        self.channel_of[self.ids] = np.arange(len(self.ids))
        self.channels = len(self.ids)
        self.num_frames = layer.num_frames

    def semantic(self, index: int, view: View, noise: DetectorNoise | None = None) -> np.ndarray:
        planes: np.ndarray = (self._seen_through(view, index) == self.ids[:, None, None]).astype(np.float32)
        return planes

    def regions(self, index: int, view: View) -> np.ndarray:
        return regions_of(*self.labelled(index, view))

    def labelled(self, index: int, view: View) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
        """Frame `index` as the channels of its labels, 255 for void, and as numbers of instances if they are known, uint8 [H, W] each."""
        channels = self.channel_of[self._seen_through(view, index)]
        return channels, None if self.instances is None else view.image(self.instances.image(index), cv2.INTER_NEAREST)

    def _seen_through(self, view: View, index: int) -> np.ndarray:
        ids = view.image(self.layer.image(index), cv2.INTER_NEAREST)
        return self.mirror[ids] if view.mirrored else ids

    def keypoints(self, index: int, view: View, noise: DetectorNoise | None = None) -> np.ndarray:
        if self.instances is None:
            return np.zeros((2 * labels.INSTANCES_FOLLOWED, 3), np.float32)
        return labels.corners(view.image(self.instances.image(index), cv2.INTER_NEAREST), self.instances.followed)

    def drawing(self, index: int, view: View) -> np.ndarray:
        return labels.colourise(self._seen_through(view, index), self.layer.table)


def _open(clip: Clip) -> LabelTrack:
    return LabelTrack(clip.layer("segment"), clip.layer("instances") if clip.has("instances") else None, clip.path)


def place(keypoints: Keypoints, semantic: NDArray[np.float32]) -> NDArray[np.float64]:
    """The labels' shares."""
    shares: NDArray[np.float64] = semantic.mean((1, 2), dtype=np.float64)
    return shares


def draw(semantic: torch.Tensor) -> torch.Tensor:
    """Each label in a colour of its own."""
    import torch

    angles = torch.arange(semantic.shape[1], device=semantic.device) * 2.4  # the golden angle: neighbours differ
    colours = torch.stack([torch.cos(angles + turn) for turn in (0.0, 2.1, 4.2)], 1)
    return torch.einsum("bshw,sc->bchw", semantic, colours)


class StreetMaterial(Material):
    """Whole images with their label maps, and with the numbers of instances if known."""

    layer, task, size, shows = "segment", "street", (192, 256), "one scene"
    optional_layers = ("instances",)

    def __init__(self, clip: Clip) -> None:
        super().__init__(clip)
        self.labels = labels.LabelLayer(clip.layer("segment"), clip.path).table

    def keep(self, made: Clip, run: slice, views: Sequence[View], producer: Producer) -> None:
        if self.clip.has("instances"):
            self.keep_images(made, "instances", run, views, producer, "ids", "values")
        self.keep_images(made, "segment", run, views, producer, "table", "names", "palette", "ids")


KIND = Kind(
    name="segment",
    layers=("segment",),
    open=_open,
    place=place,
    draw=draw,
    also_read=("instances",),
    dataset=StreetMaterial,
    extractor="stages.segment:extract_missing",
    default_model="street-256.safetensors",
)
