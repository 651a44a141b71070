"""Kernel inception distance (Binkowski et al. 2018) of the frames of the results from those of the references."""

from __future__ import annotations

from stages.evaluate.distribution import Distribution
from stages.evaluate.extractors.inception import INCEPTION
from stages.evaluate.statistics import kernel_distance

METRIC = Distribution(name="kid", summary="kernel inception distance of all frames", extractor=INCEPTION, distance=kernel_distance)
