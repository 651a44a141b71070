"""The registry of metrics: the files of `stages/evaluate/metrics`, and the metrics that other packages declare.

Each file has a METRIC, or a list METRICS. Another package declares each as an entry point of the group `fsv2v.metrics`, whose name
is that of the metric.
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


def metric_names() -> list[str]:
    """All metrics, whether they can run here or not."""
    return [metric.name for metric in _every()]


def find_metric(name: str) -> AnyMetric:
    """The first metric of that name or alias."""
    return find_metrics(name)[0]


def find_metrics(name: str) -> list[AnyMetric]:
    """The metrics of that name or alias.

    Raises UsageError for an unknown name, MissingRequirement when the package that declares it cannot be loaded.
    """
    found = [metric for metric in _every() if name in (metric.name, *metric.aliases)]
    if not found and (entry := _entries().get(name)):
        plugins.load(entry, (Metric, Distribution))  # raises, and says why that package cannot be loaded
    if not found:
        raise UsageError(f"There is no metric named {name!r}", hint=f"Choose one of: {', '.join(metric_names())}")
    return found


def _every() -> list[AnyMetric]:
    """fsv2v's own, then those of other packages by name."""
    loaded = [(name, plugins.load_or_warn(entry, (Metric, Distribution))) for name, entry in _entries().items()]
    return [*_own(), *(replace(metric, name=name) for name, metric in loaded if metric)]


def _own() -> list[AnyMetric]:
    """Sorted by the first word of the name; within one file the order is kept."""
    folder = importlib.import_module("stages.evaluate.metrics").__path__
    modules = [importlib.import_module(f"stages.evaluate.metrics.{name}") for name in sorted(m.name for m in pkgutil.iter_modules(folder))]
    metrics = [metric for module in modules for metric in getattr(module, "METRICS", None) or (module.METRIC,)]
    return sorted(metrics, key=lambda metric: metric.name.partition("-")[0])


def _entries() -> dict[str, plugins.EntryPoint]:
    return plugins.found(GROUP, [metric.name for metric in _own()])
