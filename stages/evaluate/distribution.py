"""What a metric of distributions is: how far the features of all results together lie from those of all references together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from stages.errors import MissingRequirement
from stages.evaluate.extractor import Extractor
from stages.evaluate.metric import missing_weights
from stages.evaluate.statistics import Statistics


@dataclass(frozen=True)
class Distribution:
    """One figure of merit of a whole set of results; its protocol is named by `name`.

    `extractor` makes the feature vectors, of which `columns` (begin, end) or all count; metrics of one extractor share them. `distance`
    compares the references with the results. Fewer than `least_samples` vectors on either side are told as a reason, not as a figure.
    """

    name: str
    summary: str
    extractor: Extractor
    distance: Callable[[Statistics, Statistics], float]
    columns: tuple[int, int] | None = None
    least_samples: int = 64
    unit: str = ""
    better: Literal["higher", "lower"] = "lower"
    aliases: tuple[str, ...] = ()

    def missing(self) -> str:
        """As of a Metric."""
        return missing_weights(self.extractor.weights)

    def fetch(self) -> None:
        """Raises MissingRequirement when the network cannot be had."""
        from weights import registry

        if self.extractor.weights not in registry.manifest():
            raise MissingRequirement(f"{self.name} cannot be taken: {self.missing()}")
        registry.path(self.extractor.weights)

    def too_small(self, side: int) -> str:
        """Why frames whose shorter side has so many pixels have no figure; "" if they have."""
        return "" if side >= self.extractor.least_side else f"needs frames of {self.extractor.least_side} pixels a side"

    def too_few(self, samples: int) -> str:
        """Why so many vectors have no figure; "" if they have."""
        if samples >= self.least_samples:
            return ""
        window = self.extractor.window
        return f"needs {self.least_samples} {f'windows of {window} frames' if window > 1 else 'frames'}, there are {samples}"

    def between(self, references: Statistics, results: Statistics) -> float:
        if self.columns:
            references, results = references.part(*self.columns), results.part(*self.columns)
        return self.distance(references, results)
