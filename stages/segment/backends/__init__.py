"""Segmentation backends.

Networks, and so the backends of other packages, open to a `LabellerOpener`. Two open to something else: `person` to a `PersonFinder`,
`labels` to a `LabelMapReader`.
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
    """name -> sha256 (or revision) of what it was loaded from."""

    def __call__(self, frame: NDArray[np.uint8]) -> NDArray[np.float32]:
        """frame, uint8 RGB [H, W, 3] -> the probability of each label, [L, h, w]; h and w are the network's own."""
        ...


LabellerOpener = Callable[[str | None], Labeller]
"""The name of a model, or None for the backend's own -> the labeller. Raises UsageError when the backend has no such model."""

PersonFinder = Callable[[NDArray[np.uint8]], NDArray[np.bool_]]
"""frame, uint8 RGB [H, W, 3] -> True on every person, [H, W]. Frames of one clip are given in order."""

LabelMapReader = Callable[[Path, "LabelTable", int, int], NDArray[np.uint8]]
"""file, table, width, height of the clip -> ids, uint8 [height, width]."""

SegmentBackend = LabellerOpener | PersonFinder | LabelMapReader
"""What the backends of this kind open to."""
