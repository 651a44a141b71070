"""Frechet video distance (Unterthiner et al. 2018): Frechet distance of I3D's logits of windows of 16 frames."""

from __future__ import annotations

from stages.evaluate.distribution import Distribution
from stages.evaluate.extractors.i3d import I3D, LOGITS
from stages.evaluate.statistics import frechet_distance

METRIC = Distribution(
    name="fvd",
    summary="Frechet distance of I3D's logits of windows of 16 frames",
    extractor=I3D,
    distance=frechet_distance,
    columns=LOGITS,
)
