"""Frechet inception distance (Heusel et al. 2017) of all frames of the results from all frames of the references."""

from __future__ import annotations

from stages.evaluate.distribution import Distribution
from stages.evaluate.extractors.inception import INCEPTION
from stages.evaluate.statistics import frechet_distance

METRIC = Distribution(
    name="fid",
    summary="Frechet inception distance of all frames",
    extractor=INCEPTION,
    distance=frechet_distance,
    least_samples=INCEPTION.dimensions,
)
