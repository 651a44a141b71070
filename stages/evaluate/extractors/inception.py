"""Features of frames by TensorFlow's Inception v3 of 2015-12-05, the network of published FIDs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from stages.evaluate.extractor import Extractor, FrameEncoder, Values

WEIGHTS = "pt_inception-2015-12-05-6726825d.pth"
FEATURES = 2048


def _open(device: str) -> Callable[[NDArray[np.uint8]], Values]:
    import torch

    from stages.compute.devices import choose_device
    from stages.networks.features.inception import inception
    from weights import registry

    chosen_device = choose_device(device)
    network = inception(torch.load(registry.path(WEIGHTS), map_location="cpu", weights_only=True)).to(chosen_device)

    def encode(frames: NDArray[np.uint8]) -> Values:
        with torch.inference_mode():
            return np.asarray(network(torch.from_numpy(frames).to(chosen_device).movedim(-1, 1)).cpu(), np.float32)

    return encode


INCEPTION = Extractor("inception-2015-12-05", WEIGHTS, FEATURES, FrameEncoder("inception-2015-12-05", _open))
