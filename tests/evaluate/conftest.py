"""Small videos as folders of PNG files: a portrait that moves across the image, and copies with known errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import browser as chromium
import cv2
import numpy as np
import pytest
import skimage.data

from stages.evaluate.frame_source import FrameSource, open_frame_source
from weights import registry

Change = Callable[[np.ndarray, int], np.ndarray]


class VideoMaker:
    """Makes videos in `folder`. The portrait moves `step` pixels to the left per frame."""

    frames, side, step = 6, 192, 2

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def portrait(self, index: int) -> np.ndarray:
        """Frame `index`, uint8 [side, side, 3]: the face of skimage's astronaut, a public-domain image."""
        left = 120 + self.step * index
        return skimage.data.astronaut()[10 : 10 + self.side, left : left + self.side]

    def __call__(self, name: str, change: Change = lambda frame, index: frame, frames: int = frames) -> FrameSource:
        """A folder of frames of the portrait, each changed by change(frame, index)."""
        folder = self.folder / name
        folder.mkdir(parents=True)
        for index in range(frames):
            cv2.imwrite(str(folder / f"{index}.png"), change(self.portrait(index), index)[..., ::-1])
        return open_frame_source(str(folder))


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of cached statistics, empty and separate from the user's. The folder of weights does not change."""
    monkeypatch.setenv("FSV2V_WEIGHTS", str(registry.cache_folder()))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return registry.user_cache() / "statistics"


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[chromium.Browser]:
    """A headless Chromium for one test (tests/helpers/browser.py)."""
    if chromium.find_executable() is None:
        pytest.skip(f"no Chromium: none of {', '.join(chromium.EXECUTABLES)} is on PATH, and FSV2V_CHROMIUM names none")
    with chromium.open_browser(tmp_path / "browser") as tab:
        yield tab


@pytest.fixture
def make(tmp_path: Path) -> VideoMaker:
    """make(name, change, frames): a new video of the portrait."""
    return VideoMaker(tmp_path)
