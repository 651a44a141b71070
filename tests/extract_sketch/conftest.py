"""Short clips of the public-domain portrait of `skimage.data.astronaut`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from stages.clip import Clip, VideoWriter, as_clip


@pytest.fixture(scope="session")
def portrait() -> np.ndarray:
    """uint8 RGB [256, 256, 3]; the face is about 110 pixels wide."""
    data = pytest.importorskip("skimage.data")
    return np.ascontiguousarray(data.astronaut()[2:258, 96:352])


@pytest.fixture
def clip_of(tmp_path: Path) -> Callable[..., Clip]:
    """clip_of(frames, name="a"): a new clip of these frames (uint8 RGB, of equal size) at 25 Hz."""

    def make(frames: Iterable[np.ndarray], name: str = "a") -> Clip:
        frames = list(frames)
        with VideoWriter(tmp_path / f"{name}.mp4", frames[0].shape[1], frames[0].shape[0], Fraction(25)) as video:
            for frame in frames:
                video.write(frame)
        return as_clip(tmp_path / f"{name}.mp4", tmp_path)

    return make
