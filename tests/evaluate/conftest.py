"""Small footage as folders of PNG files: a portrait that glides through the picture, and results of known faults."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data

from stages.evaluate.footage import Footage, open_footage

FRAMES, SIDE, STEP = 6, 192, 2
"""The portrait moves STEP pixels to the left per frame."""

Fault = Callable[[np.ndarray, int], np.ndarray]
Make = Callable[..., Footage]


def portrait(index: int) -> np.ndarray:
    """Frame `index` of the footage, uint8 [SIDE, SIDE, 3]: the face of skimage's astronaut, a public-domain picture."""
    left = 120 + STEP * index
    return skimage.data.astronaut()[10 : 10 + SIDE, left : left + SIDE]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """make(name, fault): a folder of the portrait's frames, each changed by fault(frame, index)."""

    def build(name: str, fault: Fault = lambda frame, index: frame, frames: int = FRAMES) -> Footage:
        folder = tmp_path / name
        folder.mkdir(parents=True)
        for index in range(frames):
            cv2.imwrite(str(folder / f"{index}.png"), fault(portrait(index), index)[..., ::-1])
        return open_footage(str(folder))

    return build
