"""Segmentation backends.

`person` opens to a function from a frame to a mask; `labels` reads label maps that are there already; the others open to a function from
the name of a model, or None for their own, to a `Labeller`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from stages.conditions.labels import LabelTable

DEFAULT_MODELS: Mapping[str, str] = {"segformer": "nvidia/segformer-b0-finetuned-cityscapes-512-1024"}


class Labeller(Protocol):
    """A network that labels single pictures."""

    table: LabelTable
    weights: Mapping[str, str]
    """name -> sha256 (or revision) of what it was loaded from."""

    def __call__(self, frame: NDArray[np.uint8]) -> NDArray[np.float32]:
        """frame, uint8 RGB [H, W, 3] -> the probability of each label, [L, h, w]; h and w are the network's own."""
        ...


LabellerOpener = Callable[[str | None], Labeller]
