"""The share of pixels with the correct label. Otherwise as `segment-miou`, which gives small objects more weight."""

from __future__ import annotations

from stages.conditions.labels import VOID
from stages.evaluate.metric import Metric
from stages.evaluate.metrics.segment_miou import LabelMap, missing, open_segment_score


def accuracy(labels: LabelMap, target: LabelMap) -> float:
    """Share of equal labels among the pixels of `target` [H, W] that are not VOID."""
    labelled = target != VOID
    return float((labels == target)[labelled].mean())


METRIC = Metric(
    name="pixel-accuracy",
    summary="share of the pixels whose label is found again, 1 for equal maps",
    unit="",
    better="higher",
    open=lambda context: open_segment_score(context, accuracy),
    missing=missing,
    layer="segment",
    min_side=32,
    floor=True,
)
