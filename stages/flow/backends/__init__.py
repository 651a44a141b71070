"""Backends for optical flow. `BACKEND.open(device)` returns an `Opener`, which takes the file of a network (or None) and returns an
`Estimator`.

An estimator takes two images, uint8 RGB [H, W, 3] of one size, and returns the flow from the first to the second, float32 [H, W, 2]:
pixels (dx, dy), so that first(x) = second(x + flow(x)). It has no state, and threads may share it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Estimator = Callable[[NDArray[np.uint8], NDArray[np.uint8]], NDArray[np.float32]]
Opener = Callable[[Path | None], Estimator]
