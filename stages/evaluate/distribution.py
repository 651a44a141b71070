"""A metric of distributions: a distance between the features of all results and those of all references."""

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

    extractor: computes the feature vectors, once for all metrics that use it.
    distance: called with the statistics of the references and those of the results.
    columns: (begin, end) of the columns of the vectors that are compared, None for all.
    min_samples: with fewer vectors of the references or of the results there is no figure, but a reason.
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
        """See `missing` of a Metric."""
        return missing_weights(self.extractor.weights)

    def fetch(self) -> None:
        """Fetch the network's weights. Raises MissingRequirement when that fails."""
        from weights import registry

        if self.extractor.weights not in registry.manifest():
            raise MissingRequirement(f"{self.name} cannot run: {self.missing()}")
        registry.path(self.extractor.weights)

    def too_small(self, side: int) -> str:
        """Why there is no figure for frames whose shorter side has `side` pixels; "" if there is one."""
        return "" if side >= self.extractor.min_side else f"needs frames of {self.extractor.min_side} pixels a side"

    def too_few(self, samples: int) -> str:
        """Why there is no figure for `samples` vectors; "" if there is one."""
        if samples >= self.min_samples:
            return ""
        window = self.extractor.window
        return f"needs {self.min_samples} {f'windows of {window} frames' if window > 1 else 'frames'}, there are {samples}"

    def compare(self, references: Statistics, results: Statistics) -> float:
        """The distance between the compared columns of the references and of the results."""
        if self.columns:
            references, results = references.part(*self.columns), results.part(*self.columns)
        return self.distance(references, results)
