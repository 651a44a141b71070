"""Segmentation backends.

`Backend.open` returns a `LabellerOpener` for a network, which includes the backends of other packages. For `person` it returns a
`PersonFinder`, for `labels` a `LabelMapReader`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from stages.conditions.labels import LabelTable

DEFAULT_MODELS: Mapping[str, str] = {"segformer": "nvidia/segformer-b0-finetuned-cityscapes-512-1024"}


class Labeller(Protocol):
    """A network that labels single images."""

    table: LabelTable
    weights: Mapping[str, str]
    """Name of each file from which it was loaded -> sha256 or revision."""

    def __call__(self, frame: NDArray[np.uint8]) -> NDArray[np.float32]:
        """frame, uint8 RGB [H, W, 3] -> the probability of each label, [L, h, w]. h and w are the size of the network's output."""
        ...


LabellerOpener = Callable[[str | None], Labeller]
"""Name of a model, or None for the default -> the labeller. Raises UsageError when the backend does not have the model."""

PersonFinder = Callable[[NDArray[np.uint8]], NDArray[np.bool_]]
"""frame, uint8 RGB [H, W, 3] -> bool [H, W], True on people. Frames of one clip are given in order."""

LabelMapReader = Callable[[Path, "LabelTable", int, int], NDArray[np.uint8]]
"""file, table, width, height of the clip -> ids, uint8 [height, width]."""

SegmentBackend = LabellerOpener | PersonFinder | LabelMapReader
"""What `Backend.open` returns."""
