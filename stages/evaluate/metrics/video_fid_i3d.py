"""The video FID of vid2vid (section 4) with I3D: Frechet distance of the features that are left when its last layers are removed."""

from __future__ import annotations

from stages.evaluate.distribution import Distribution
from stages.evaluate.extractors.i3d import FEATURES, I3D
from stages.evaluate.statistics import frechet_distance

METRIC = Distribution(
    name="video-fid-i3d",
    summary="Frechet distance of I3D's features of windows of 16 frames",
    extractor=I3D,
    distance=frechet_distance,
    columns=FEATURES,
)
