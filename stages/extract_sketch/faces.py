"""A face, as landmark backends return it."""

from __future__ import annotations

from stages.conditions.landmarks import IRIS_POINTS, LANDMARKS
from stages.tracking.tracker import Detector, Subject, box_of_points

__all__ = ["FACE_POINTS", "Detector", "Face", "box_of_points"]

FACE_POINTS = LANDMARKS + IRIS_POINTS

Face = Subject
"""Its points are [68, 3] in the order of iBUG 300-W, or [78, 3] with the ten of the irises at the end, from backends that find them."""
