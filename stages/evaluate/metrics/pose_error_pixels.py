"""As `pose-error`, in pixels of the result."""

from __future__ import annotations

from stages.evaluate.metric import Metric
from stages.evaluate.metrics.pose_error import missing, open_pose_error

METRIC = Metric(
    name="pose-error-pixels",
    summary="the same in pixels",
    unit="pixels",
    better="lower",
    open=lambda setting: open_pose_error(setting, relative=False),
    missing=missing,
    layer="poses",
    least_side=16,
    floor=True,
)
