"""What a driving kind is: everything that depends on whether a face, a body or a label map drives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stages.clip import Clip
from stages.conditions.material import Material
from stages.conditions.reach import Pose
from stages.conditions.tracks import Track

if TYPE_CHECKING:
    import torch

Keypoints = NDArray[np.float32]
"""[N, 3]: x, y in pixels, confidence."""


@dataclass(frozen=True)
class Kind:
    """The record of a driving kind; a file of its own in this folder has it."""

    name: str
    """As models have it, for example "landmarks+iris"."""
    layers: tuple[str, ...]
    """Layers of a clip that drive. Datasets and default models are chosen by the first."""
    open: Callable[[Clip], Track]
    place: Callable[[Keypoints, NDArray[np.float32]], NDArray[np.float64]]
    """Coordinates of a frame on the appearance map, from its keypoints and s_t [S, H, W] (adaptive compact attention, section 3.2)."""
    draw: Callable[[torch.Tensor], torch.Tensor]
    """s_t [B, S, H, W] as images [B, 3, H, W] in [-1, 1], for sample sheets."""
    also_read: tuple[str, ...] = ()
    """Further layers that drive if the clip has them."""
    channels: int | None = None
    """Of s_t; None: one for each label."""
    pose: Callable[[Keypoints], Pose] | None = None
    """What is compared with the examples (reach.py); None: no warnings."""
    normalizable: bool = False
    """Whether `Track.fitted` gives it the example's proportions."""
    shows_face: bool = False
    """Whether the layer landmarks says whose face it is."""
    expressive: bool = False
    """Whether `Track.with_motion` makes its motion weaker or stronger."""
    cover: Callable[[Keypoints, NDArray[np.uint8]], None] | None = None
    """Sets the pixels of a mask [H, W] that a subject with these keypoints covers to 1; None: nothing stands out from a background."""
    soft_edge: float = 0.1
    """Width of the soft edge around what is covered, in heights of the image."""
    keep: Callable[[NDArray[np.float32]], dict[str, NDArray[np.generic]]] | None = None
    """Arrays of the first layer to store with the result, from the driving keypoints [T, 1, N, 3]; None: nothing is stored."""
    dataset: type[Material] | None = None
    """What build-dataset keeps of a clip; None: it makes no datasets of this kind, or the first layer has those of another kind."""
    extractor: str = ""
    """The function that makes the first layer of a clip, as "module:function" (clip, backend, device, and subject where one is chosen);
    empty: it has to be imported."""
    default_model: str = ""
    """File of the shipped model."""
    remedies: Mapping[str, str] = field(default_factory=dict)
    """How to make layers that no stage of fsv2v makes, with {} for the clip: hints for a clip without them."""

    @property
    def layer(self) -> str:
        """The first of `layers`."""
        return self.layers[0]


def grey(maps: torch.Tensor) -> torch.Tensor:
    """Maps [B, 1, H, W] in [0, 1] as images [B, 3, H, W] in [-1, 1]."""
    return maps.clamp(0, 1).expand(-1, 3, -1, -1) * 2 - 1
