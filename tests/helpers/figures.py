"""Metrics and figures with known values, for tests."""

from __future__ import annotations

from stages.evaluate import Distribution, Metric, find_metric


def frame_metric(name: str) -> Metric:
    """A metric that is the mean over frames."""
    found = find_metric(name)
    assert isinstance(found, Metric)
    return found


def set_metric(name: str) -> Distribution:
    """A metric of whole sets."""
    found = find_metric(name)
    assert isinstance(found, Distribution)
    return found


def figure(value: float | None) -> float:
    """A figure that there has to be."""
    assert value is not None
    return value
