"""The driving kind of streets with edges between instances: without them, two cars side by side are one region of the label map."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stages.clip import Clip
from stages.conditions import labels
from stages.conditions.kinds import streets
from stages.conditions.kinds.kind import Kind
from stages.conditions.kinds.streets import LabelTrack
from stages.conditions.regions import edges_of, keys_of
from stages.conditions.tracks import DetectorNoise
from stages.conditions.view import View

if TYPE_CHECKING:
    import torch


class EdgeTrack(LabelTrack):
    """s_t is the label map, then a channel that is 1 where the label or the instance of a pixel differs from that of a neighbour."""

    def __init__(self, layer: labels.LabelSource, instances: labels.LabelSource, path: Path | None = None) -> None:
        super().__init__(layer, instances, path)
        self.channels += 1

    def semantic(self, index: int, view: View, noise: DetectorNoise | None = None) -> np.ndarray:
        edges = edges_of(keys_of(*self.channels_and_instances(index, view)))
        return np.concatenate([super().semantic(index, view, noise), edges[None].astype(np.float32)])


def _open(clip: Clip) -> EdgeTrack:
    return EdgeTrack(clip.layer("segment"), clip.layer("instances"), clip.path)


def _draw(semantic: torch.Tensor) -> torch.Tensor:
    """Each label in a colour of its own, edges in black."""
    edges = semantic[:, -1:]
    return streets.draw(semantic[:, :-1]) * (1 - edges) - edges


KIND = Kind(
    name="segment+instances",
    layers=("segment", "instances"),
    open=_open,
    draw=_draw,
    remedies={"instances": "Import the numbers of its instances, or use a model without edges between them"},
)
