"""LPIPS (Zhang et al. 2018), version 0.1 with AlexNet: the distance between features, whose channels are weighted as learned from human
judgements."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stages.evaluate.metric import EvaluationContext, Image, Metric, Scorer, missing_weights
from stages.networks.common.images import image_tensor


def _weights() -> tuple[str, str]:
    """Names of two weight files: the network, and the weights of its channels."""
    from stages.networks.features.alexnet import LINEAR_WEIGHTS, WEIGHTS

    return WEIGHTS, LINEAR_WEIGHTS


def _open(context: EvaluationContext) -> Scorer:
    import torch

    from stages.compute.devices import choose_device
    from stages.networks.features.alexnet import lpips
    from weights import registry

    device = choose_device(context.device)
    network, linear = (torch.load(registry.path(name), map_location="cpu", weights_only=True) for name in _weights())
    distance = lpips(network, linear).to(device)

    def score(reference: Image, candidates: Sequence[Image]) -> list[float]:
        with torch.inference_mode():
            images = image_tensor(np.stack([reference, *candidates])).to(device)
            return [float(value) for value in distance(images[:1], images[1:]).cpu()]

    return score


METRIC = Metric(
    name="lpips",
    summary="perceptual distance fitted to people's judgement, 0 for equal frames",
    unit="",
    better="lower",
    open=_open,
    missing=lambda context: missing_weights(*_weights()),
    min_side=32,
)
