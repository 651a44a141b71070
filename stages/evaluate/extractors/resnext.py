"""Features of windows of 16 frames, without overlap, by 3D ResNeXt-101: those before the classifier."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from stages.evaluate.extractor import Extractor, FrameEncoder, Values

WEIGHTS = "resnext-101-kinetics.pth"
FRAMES, FEATURES = 16, 2048


def _open_encoder(device: str) -> Callable[[NDArray[np.uint8]], Values]:
    import torch

    from stages.networks.features.resnext3d import preprocess

    return lambda frames: np.asarray(preprocess(torch.from_numpy(frames).movedim(-1, 1)), np.float32)


def _open(device: str) -> Callable[[Values], Values]:
    import torch

    from stages.compute.devices import choose_device
    from stages.networks.features.resnext3d import resnext3d
    from weights import registry

    chosen_device = choose_device(device)
    network = resnext3d(torch.load(registry.path(WEIGHTS), map_location="cpu", weights_only=True)).to(chosen_device)

    def vector(window: Values) -> Values:
        with torch.inference_mode():
            return np.asarray(network(torch.from_numpy(window).to(chosen_device).movedim(1, 0)[None])[0].cpu(), np.float32)

    return vector


RESNEXT = Extractor(
    "resnext3d-101", WEIGHTS, FEATURES, FrameEncoder("resnext3d-frames", _open_encoder), window=FRAMES, stride=FRAMES, open=_open
)
