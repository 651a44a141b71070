"""The video FID of vid2vid (section 4) with ResNeXt: as `video-fid-i3d`, with the other network of the paper.

The authors' file comes without a published checksum, so the manifest of weights has no entry for it, and the metric cannot be taken before
it has one.
"""

from __future__ import annotations

from stages.evaluate.distribution import Distribution
from stages.evaluate.extractors.resnext import RESNEXT
from stages.evaluate.statistics import frechet_distance

METRIC = Distribution(
    name="video-fid-resnext",
    summary="Frechet distance of 3D ResNeXt's features of windows of 16 frames",
    extractor=RESNEXT,
    distance=frechet_distance,
)
