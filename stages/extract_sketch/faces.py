"""What a landmark backend returns for one frame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Face:
    """One face in one frame.

    box: [4] float32, x0, y0, x1, y1 in pixels; points: [68, 3] float32, x, y in pixels (pixel centres at integers) and a confidence in
    [0, 1], in the order of iBUG 300-W.
    """

    box: NDArray[np.float32]
    points: NDArray[np.float32]

    @property
    def size(self) -> float:
        """Side of the square of the same area as the box, in pixels."""
        width, height = self.box[2:] - self.box[:2]
        return float(np.sqrt(max(width, 0.0) * max(height, 0.0)))


Detector = Callable[[NDArray[np.uint8]], list[Face]]
"""frame, uint8 RGB [H, W, 3] -> its faces. Frames of one clip are given in order: a detector may track between them."""


def box_of_points(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """The tight box [4] around points [N, >=2]."""
    return np.concatenate([points[:, :2].min(axis=0), points[:, :2].max(axis=0)]).astype(np.float32)
