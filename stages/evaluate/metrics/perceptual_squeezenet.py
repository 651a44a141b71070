"""Distance of SqueezeNet features of single frames: LPIPS (Zhang et al. 2018, eq. 1) without learned weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stages.evaluate.metric import Image, Metric, Scorer, Setting, missing_weights

WEIGHTS = "squeezenet1_0_imagenet.safetensors"


def _open(setting: Setting) -> Scorer:
    import torch
    from safetensors.torch import load_file

    from stages.devices import choose_device
    from stages.networks.squeezenet import squeezenet, unit_distance
    from weights import registry

    device = choose_device(setting.device)
    network = squeezenet(load_file(registry.path(WEIGHTS))).to(device)

    def score(reference: Image, candidates: Sequence[Image]) -> list[float]:
        with torch.inference_mode():
            images = torch.from_numpy(np.stack([reference, *candidates])).to(device).movedim(-1, 1).float() / 127.5 - 1
            maps = network(images)
            return [float(d) for d in unit_distance([m[:1] for m in maps], [m[1:] for m in maps]).cpu()]

    return score


METRIC = Metric(
    name="perceptual-squeezenet",
    summary="distance of ImageNet features, 0 for equal frames",
    unit="",
    better="lower",
    open=_open,
    missing=lambda setting: missing_weights(WEIGHTS),
    aliases=("perceptual",),
    least_side=32,
)
