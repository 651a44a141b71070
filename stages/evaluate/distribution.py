"""What a metric of distributions is: a distance between the features of all results and those of all references."""

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
    """One figure of merit of a whole set of results; its name identifies the protocol.

    extractor: makes the feature vectors, which metrics of one extractor share; columns: (begin, end) of those that count, None for all;
    distance: compares the references with the results; min_samples: with fewer vectors on either side there is a reason instead of a
    figure.
    """

    name: str
    summary: str
    extractor: Extractor
    distance: Callable[[Statistics, Statistics], float]
    columns: tuple[int, int] | None = None
    min_samples: int = 64
    unit: str = ""
    better: Literal["higher", "lower"] = "lower"
    aliases: tuple[str, ...] = ()

    def missing(self) -> str:
        """As `missing` of a Metric."""
        return missing_weights(self.extractor.weights)

    def fetch(self) -> None:
        """Fetch the network's weights. Raises MissingRequirement when that fails."""
        from weights import registry

        if self.extractor.weights not in registry.manifest():
            raise MissingRequirement(f"{self.name} cannot run: {self.missing()}")
        registry.path(self.extractor.weights)

    def too_small(self, side: int) -> str:
        """Why frames with a shorter side of `side` pixels have no figure; "" if they have one."""
        return "" if side >= self.extractor.min_side else f"needs frames of {self.extractor.min_side} pixels a side"

    def too_few(self, samples: int) -> str:
        """Why `samples` vectors have no figure; "" if they have one."""
        if samples >= self.min_samples:
            return ""
        window = self.extractor.window
        return f"needs {self.min_samples} {f'windows of {window} frames' if window > 1 else 'frames'}, there are {samples}"

    def between(self, references: Statistics, results: Statistics) -> float:
        """The figure."""
        if self.columns:
            references, results = references.part(*self.columns), results.part(*self.columns)
        return self.distance(references, results)
