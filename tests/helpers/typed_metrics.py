"""Metrics by name, and their values, with the types that the type checker needs."""

from __future__ import annotations

from stages.evaluate import Distribution, Metric, find_metric


def frame_metric(name: str) -> Metric:
    """A metric of frames, whose value is the mean over them."""
    metric = find_metric(name)
    assert isinstance(metric, Metric)
    return metric


def set_metric(name: str) -> Distribution:
    """A metric that compares two sets of frames or videos."""
    metric = find_metric(name)
    assert isinstance(metric, Distribution)
    return metric


def not_none(value: float | None) -> float:
    """The value of a metric, which must not be missing."""
    assert value is not None
    return value
