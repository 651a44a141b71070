"""The registry of metrics: one file for each in `stages/evaluate/metrics`, and those that other packages declare.

A file defines METRIC, or METRICS if it holds several. Another package declares an entry point of the group `fsv2v.metrics` for each of its
metrics, with the metric's name.
"""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import replace

from stages import plugins
from stages.errors import UsageError
from stages.evaluate.distribution import Distribution
from stages.evaluate.metric import Metric

GROUP = "fsv2v.metrics"
"""Entry points of other packages: name -> a `Metric` or a `Distribution`."""

AnyMetric = Metric | Distribution
"""A metric of frames, or one of distributions."""


def metric_names() -> list[str]:
    """All metrics, whether they can run here or not."""
    return [metric.name for metric in _all_metrics()]


def find_metric(name: str) -> AnyMetric:
    """The first metric with this name or alias. Raises what `find_metrics` raises."""
    return find_metrics(name)[0]


def find_metrics(name: str) -> list[AnyMetric]:
    """All metrics with this name or alias.

    Raises UsageError for an unknown name, MissingRequirement when the package that declares it cannot be loaded.
    """
    found = [metric for metric in _all_metrics() if name in (metric.name, *metric.aliases)]
    if not found and (entry := _declared_entry_points().get(name)):
        plugins.load(entry, (Metric, Distribution))  # raises with the reason
    if not found:
        raise UsageError(f"There is no metric named {name!r}", hint=f"Choose one of: {', '.join(metric_names())}")
    return found


def _all_metrics() -> list[AnyMetric]:
    """The built-in metrics, then those of other packages that can be loaded."""
    loaded = [(name, plugins.load_or_warn(entry, (Metric, Distribution))) for name, entry in _declared_entry_points().items()]
    return [*_built_in(), *(replace(metric, name=name) for name, metric in loaded if metric)]


def _built_in() -> list[AnyMetric]:
    """The built-in metrics, sorted by their names up to the first hyphen. Metrics of one file keep their order."""
    folder = importlib.import_module("stages.evaluate.metrics").__path__
    modules = [importlib.import_module(f"stages.evaluate.metrics.{name}") for name in sorted(m.name for m in pkgutil.iter_modules(folder))]
    metrics = [metric for module in modules for metric in getattr(module, "METRICS", None) or (module.METRIC,)]
    return sorted(metrics, key=lambda metric: metric.name.partition("-")[0])


def _declared_entry_points() -> dict[str, plugins.EntryPoint]:
    """Metric's name -> entry point of another package."""
    return plugins.find_entry_points(GROUP, [metric.name for metric in _built_in()])
