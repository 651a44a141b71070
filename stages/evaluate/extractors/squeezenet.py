"""Features of frames and of windows of frames by SqueezeNet 1.0, a small and fast network.

The vector of a frame: the features of the last layer (fire9), whose channels are scaled to length sqrt(512) at each position, averaged over
the positions. The vector of a window: the mean of its frames' vectors for appearance, then four times the mean absolute change from each
frame to the next for motion. The changes are much smaller than the means and would hardly count without the factor.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from stages.evaluate.extractor import Extractor, FrameEncoder, Values
from stages.networks.common.images import image_tensor

WEIGHTS = "squeezenet1_0_imagenet.safetensors"
FEATURES = 512
WEIGHT_OF_CHANGE = 4.0


def _open(device: str) -> Callable[[NDArray[np.uint8]], Values]:
    import torch
    from safetensors.torch import load_file
    from torch.nn import functional

    from stages.compute.devices import choose_device
    from stages.networks.features.squeezenet import squeezenet
    from weights import registry

    chosen_device = choose_device(device)
    network = squeezenet(load_file(registry.path(WEIGHTS))).to(chosen_device)

    def encode(frames: NDArray[np.uint8]) -> Values:
        with torch.inference_mode():
            images = image_tensor(frames).to(chosen_device)
            last = functional.normalize(network(images)[-1], dim=1, eps=1e-6) * FEATURES**0.5
            return np.asarray(last.mean((2, 3)).cpu(), np.float32)

    return encode


def appearance_and_change(window: Values) -> Values:
    """Features [T, D] of consecutive frames -> [2 D]: their mean, and the weighted mean absolute change from one frame to the next."""
    return np.concatenate([window.mean(0), WEIGHT_OF_CHANGE * np.abs(np.diff(window, axis=0)).mean(0)])


_ENCODER = FrameEncoder("squeezenet", _open)
FRAMES = Extractor("squeezenet-frames", WEIGHTS, FEATURES, _ENCODER, min_side=32)
WINDOWS = Extractor(
    "squeezenet-windows", WEIGHTS, 2 * FEATURES, _ENCODER, window=8, min_side=32, open=lambda device: appearance_and_change
)  # fmt: skip
