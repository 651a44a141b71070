"""Metrics of distributions: distances between the features of all results and those of all references.

Scores computed with Inception and I3D are comparable with published ones. SqueezeNet is small and fast; the
figures of its metrics are comparable only with each other. 3D ResNeXt is the network of vid2vid's second video FID. No checksum of its
file is published, so the manifest of weights has no entry for it. The metric cannot run until the entry is added.
"""

from __future__ import annotations

from stages.evaluate.distribution import Distribution
from stages.evaluate.extractors.i3d import FEATURES, I3D, LOGITS
from stages.evaluate.extractors.inception import INCEPTION
from stages.evaluate.extractors.resnext import RESNEXT
from stages.evaluate.extractors.squeezenet import FRAMES, WINDOWS
from stages.evaluate.statistics import frechet_distance, kernel_distance

METRICS = (
    # Frechet inception distance (Heusel et al. 2017)
    Distribution("fid", "Frechet inception distance of all frames", INCEPTION, frechet_distance, min_samples=INCEPTION.dimensions),
    Distribution("fid-squeezenet", "Frechet distance of SqueezeNet's features of all frames", FRAMES, frechet_distance),
    # Frechet video distance (Unterthiner et al. 2018)
    Distribution("fvd", "Frechet distance of I3D's logits of windows of 16 frames", I3D, frechet_distance, columns=LOGITS),
    Distribution(
        "fvd-squeezenet",
        "Frechet distance of windows of 8 frames: SqueezeNet's features and their changes from frame to frame",
        WINDOWS,
        frechet_distance,
    ),
    # kernel inception distance (Binkowski et al. 2018)
    Distribution("kid", "kernel inception distance of all frames", INCEPTION, kernel_distance),
    Distribution("kid-squeezenet", "kernel distance of SqueezeNet's features of all frames", FRAMES, kernel_distance),
    # the video FIDs of vid2vid (section 4), on the features before the networks' last layers
    Distribution("video-fid-i3d", "Frechet distance of I3D's features of windows of 16 frames", I3D, frechet_distance, columns=FEATURES),
    Distribution("video-fid-resnext", "Frechet distance of 3D ResNeXt's features of windows of 16 frames", RESNEXT, frechet_distance),
)
