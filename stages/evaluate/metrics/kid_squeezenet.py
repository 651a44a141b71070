"""The formula of `kid` for SqueezeNet's features: to be compared with itself alone, never with a published KID."""

from __future__ import annotations

from stages.evaluate.distribution import Distribution
from stages.evaluate.extractors.squeezenet import FRAMES
from stages.evaluate.statistics import kernel_distance

METRIC = Distribution(
    name="kid-squeezenet", summary="kernel distance of SqueezeNet's features of all frames", extractor=FRAMES, distance=kernel_distance
)
