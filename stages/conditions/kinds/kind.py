"""The description of a driving kind: everything that differs between faces, bodies and label maps as drivers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import InitVar, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stages.clip import Clip
from stages.conditions.reach import Pose
from stages.conditions.source_clip import SourceClip
from stages.conditions.tracks import Track

if TYPE_CHECKING:
    import torch

Keypoints = NDArray[np.float32]
"""[N, 3]: x, y in pixels, confidence."""
_UNSET: Any = object()


def channel_means(keypoints: Keypoints, semantic: NDArray[np.float32]) -> NDArray[np.float64]:
    """The mean of each channel of s_t, [S]; for label maps this is the share of each label in the image."""
    means: NDArray[np.float64] = semantic.mean((1, 2), dtype=np.float64)
    return means


@dataclass(frozen=True)
class Kind:
    """A driving kind. Each file in this folder defines one as `KIND`."""

    name: str
    """The name in the configuration of models, for example "landmarks+iris"."""
    layers: tuple[str, ...]
    """The layers of a clip that drive. The first one determines the datasets and the default model."""
    open: Callable[[Clip], Track]
    """Opens the track of a clip that has all of `layers`."""
    draw: Callable[[torch.Tensor], torch.Tensor]
    """Draws s_t [B, S, H, W] as images [B, 3, H, W] in [-1, 1], for sample sheets."""
    appearance_coordinates: Callable[[Keypoints, NDArray[np.float32]], NDArray[np.float64]] = channel_means
    """Coordinates [D] of a frame on the appearance map, from its keypoints and s_t [S, H, W] (adaptive compact attention, section 3.2)."""
    also_read: tuple[str, ...] = ()
    """Layers that drive too, if the clip has them."""
    channels: int | None = None
    """Number of channels of s_t; None: one for each label."""
    pose: Callable[[Keypoints], Pose] | None = None
    """The pose of a frame, which is compared with those of the examples (reach.py); None: there are no warnings about poses."""
    fits_example: bool = False
    """Whether the track can be fitted to the examples (`Track.fitted`)."""
    shows_face: bool = False
    """Whether images show a face whose position is in the layer landmarks."""
    expressive: bool = False
    """Whether the strength of the motion can be changed (`Track.with_motion`)."""
    cover: Callable[[Keypoints, NDArray[np.uint8]], None] | None = None
    """Sets the pixels of a mask [H, W] that a subject with these keypoints covers to 1; None for kinds without subject and background."""
    covers_subject: bool = False
    """Whether `cover` covers the whole subject, so that everything beside it is background."""
    cover_features: Callable[[Keypoints, NDArray[np.uint8]], None] | None = None
    """As `cover`, for the part that expressions change; None for kinds whose tracks have no expression (`Track.with_expression`)."""
    soft_edge: float = 0.1
    """Width of the soft edge of the mask that `cover` draws, in heights of the image."""
    result_arrays: Callable[[NDArray[np.float32]], dict[str, NDArray[np.generic]]] | None = None
    """Arrays of the first layer for the clip of a result, from the driving keypoints [T, 1, N, 3]; None: results have no such layer."""
    dataset: type[SourceClip] | None = None
    """How build-dataset reads a clip. None: this kind uses the datasets of another kind with the same `layer`, or there are none."""
    live: Callable[[Keypoints], Track] | None = None
    """A track of one frame with these keypoints. None: this kind cannot be driven live."""
    extractor: str = ""
    """The function that makes the first layer of a clip, as "module:function". Its parameters are the clip, backend and device, and the
    subject if it can be chosen. Empty: the layer has to be imported."""
    default_model: str = ""
    """File name of the shipped model."""
    remedies: Mapping[str, str] = field(default_factory=dict)
    """Layer -> hint for a clip that lacks it, with {} for the path of the clip. Only for layers that no stage of fsv2v makes."""
    normalizable: InitVar[Any] = _UNSET
    """Former name of `fits_example`."""
    keep: InitVar[Any] = _UNSET
    """Former name of `result_arrays`."""
    place: InitVar[Any] = _UNSET
    """Former name of `appearance_coordinates`."""

    def __post_init__(self, normalizable: Any, keep: Any, place: Any) -> None:
        if normalizable is not _UNSET:
            object.__setattr__(self, "fits_example", normalizable)
        if keep is not _UNSET:
            object.__setattr__(self, "result_arrays", keep)
        if place is not _UNSET:
            object.__setattr__(self, "appearance_coordinates", place)

    @property
    def layer(self) -> str:
        """The first of `layers`."""
        return self.layers[0]


def grey(maps: torch.Tensor) -> torch.Tensor:
    """Maps [B, 1, H, W] in [0, 1] as grey images [B, 3, H, W] in [-1, 1]."""
    return maps.clamp(0, 1).expand(-1, 3, -1, -1) * 2 - 1
