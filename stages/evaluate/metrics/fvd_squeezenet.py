"""The formula of `fvd` for windows of SqueezeNet's features and their changes: to be compared with itself alone."""

from __future__ import annotations

from stages.evaluate.distribution import Distribution
from stages.evaluate.extractors.squeezenet import WINDOWS
from stages.evaluate.statistics import frechet_distance

METRIC = Distribution(
    name="fvd-squeezenet",
    summary="Frechet distance of windows of 8 frames: SqueezeNet's features and their changes",
    extractor=WINDOWS,
    distance=frechet_distance,
)
