"""The formula of `fid` for SqueezeNet's features: to be compared with itself alone, never with a published FID."""

from __future__ import annotations

from stages.evaluate.distribution import Distribution
from stages.evaluate.extractors.squeezenet import FRAMES
from stages.evaluate.statistics import frechet_distance

METRIC = Distribution(
    name="fid-squeezenet", summary="Frechet distance of SqueezeNet's features of all frames", extractor=FRAMES, distance=frechet_distance
)
