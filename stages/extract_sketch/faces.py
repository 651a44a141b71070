"""What a landmark backend returns for one frame."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from stages.conditions.landmarks import IRIS_POINTS, LANDMARKS
from stages.tracking.tracker import Subject, box_of_points

__all__ = ["Detector", "Face", "box_of_points"]

FACE_POINTS = LANDMARKS + IRIS_POINTS

Face = Subject
"""A face: its points are [68, 3] in the order of iBUG 300-W, of backends that see irises [78, 3] with both irises behind them."""

Detector = Callable[[NDArray[np.uint8]], list[Face]]
"""frame, uint8 RGB [H, W, 3] -> its faces. Frames of one clip are given in order: a detector may track between them."""
