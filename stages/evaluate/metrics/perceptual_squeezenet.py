"""Distance of SqueezeNet features of single frames: LPIPS (Zhang et al. 2018, eq. 1) without learned weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stages.evaluate.metric import EvaluationContext, Image, Metric, Scorer, missing_weights
from stages.networks.common.images import image_tensor

WEIGHTS = "squeezenet1_0_imagenet.safetensors"


def _open(context: EvaluationContext) -> Scorer:
    import torch
    from safetensors.torch import load_file

    from stages.compute.devices import choose_device
    from stages.networks.features.squeezenet import squared_distance, squeezenet, unit_features
    from weights import registry

    device = choose_device(context.device)
    network = squeezenet(load_file(registry.path(WEIGHTS))).to(device)

    def features(images: Sequence[Image]) -> list[list[torch.Tensor]]:
        """The feature maps [1, C, h, w] of each image."""
        maps = unit_features(network(image_tensor(np.stack(images)).to(device)))
        return [[each[index : index + 1] for each in maps] for index in range(len(images))]

    def score(reference: Image, candidates: Sequence[Image]) -> list[float]:
        with torch.inference_mode():
            truth, *others = context.cache(features, [reference, *candidates])
            return [float(squared_distance(truth, other)) for other in others]

    return score


METRIC = Metric(
    name="perceptual-squeezenet",
    summary="distance of ImageNet features, 0 for equal frames",
    unit="",
    better="lower",
    open=_open,
    missing=lambda context: missing_weights(WEIGHTS),
    aliases=("perceptual",),
    min_side=32,
)
