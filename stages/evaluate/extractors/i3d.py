"""Windows of 16 frames through I3D: the features in front of its classifier, then the classifier's 400 logits.

The windows follow each other without overlap; frames that do not fill one at the end do not count. Papers that score each video by one clip
have 16 frames of it; longer videos give more windows here.
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

    place = choose_device(device)
    network = i3d(torch.load(registry.path(WEIGHTS), map_location="cpu", weights_only=True)).to(place)

    def vector(window: Values) -> Values:
        with torch.inference_mode():
            features, logits = network(torch.from_numpy(window).to(place).movedim(1, 0)[None])
            return np.asarray(torch.cat((features, logits), 1)[0].cpu(), np.float32)

    return vector


I3D = Extractor("i3d", WEIGHTS, LOGITS[1], FrameEncoder("i3d-frames", _open_encoder), window=FRAMES, stride=FRAMES, open=_open)
