"""Features of windows of 16 frames by I3D: the 1024 features before the classifier, then its 400 logits.

The windows do not overlap; frames at the end that do not fill a window are left out. Papers that take one clip of 16 frames from each video
have one window per video; here a longer video gives more windows.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from stages.evaluate.extractor import Extractor, FrameEncoder, Values

WEIGHTS = "i3d_pretrained_400.pt"
FRAMES = 16
FEATURES, LOGITS = (0, 1024), (1024, 1424)
"""Columns of the vectors."""


def _open_encoder(device: str) -> Callable[[NDArray[np.uint8]], Values]:
    import torch

    from stages.networks.features.i3d import preprocess

    return lambda frames: np.asarray(preprocess(torch.from_numpy(frames).movedim(-1, 1)), np.float32)


def _open(device: str) -> Callable[[Values], Values]:
    import torch

    from stages.compute.devices import choose_device
    from stages.networks.features.i3d import i3d
    from weights import registry

    chosen_device = choose_device(device)
    network = i3d(torch.load(registry.path(WEIGHTS), map_location="cpu", weights_only=True)).to(chosen_device)

    def vector(window: Values) -> Values:
        with torch.inference_mode():
            features, logits = network(torch.from_numpy(window).to(chosen_device).movedim(1, 0)[None])
            return np.asarray(torch.cat((features, logits), 1)[0].cpu(), np.float32)

    return vector


I3D = Extractor("i3d", WEIGHTS, LOGITS[1], FrameEncoder("i3d-frames", _open_encoder), window=FRAMES, stride=FRAMES, open=_open)
