"""Small videos, images and clips made with ffmpeg and numpy, and the real videos of ../shared/data if they exist."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from numbered_frames import numbered_frame
from PIL import Image

from stages.clip import Clip, as_clip, create_clip
from stages.clip.ffmpeg import executable

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture(autouse=True)
def work_in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clips are made in the current folder by default."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def ffmpeg() -> Callable[..., None]:
    """ffmpeg(*arguments): run ffmpeg, overwriting its output."""

    def run(*arguments: str | Path) -> None:
        subprocess.run([executable(), "-v", "error", "-y", "-nostdin", *map(str, arguments)], check=True)

    return run


@pytest.fixture(scope="session")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all tests share, for files that no test changes."""
    return tmp_path_factory.mktemp("media")


@pytest.fixture(scope="session")
def video(media: Path, ffmpeg: Callable[..., None]) -> Path:
    """100 numbered frames of 64 x 48 at 30000/1001 per second with B-frames, a key frame every 24 frames, and a tone."""
    raw = media / "numbered.rgb"
    raw.write_bytes(b"".join(numbered_frame(index).tobytes() for index in range(100)))
    path = media / "numbered.mp4"
    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", "64x48", "-r", "30000/1001", "-i", raw]
    tone = ["-f", "lavfi", "-i", "sine=frequency=440:duration=3.3"]
    coding = ["-c:v", "libx264", "-crf", "12", "-bf", "3", "-g", "24", "-pix_fmt", "yuv420p", "-c:a", "aac"]
    ffmpeg(*source, *tone, *coding, "-movflags", "+faststart", path)
    return path


@pytest.fixture
def clip(video: Path, tmp_path: Path) -> Clip:
    """A fresh clip of the numbered video."""
    return as_clip(video, tmp_path / "numbered.clip")


@pytest.fixture
def small_clip(tmp_path: Path) -> Clip:
    """Six numbered frames kept as PNG."""
    return create_clip(tmp_path / "small.clip", (numbered_frame(index) for index in range(6)))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder with frame1.png to frame12.png."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index in range(1, 13):
        Image.fromarray(numbered_frame(index)).save(folder / f"frame{index}.png")
    return folder


@pytest.fixture(scope="session")
def real_media() -> Path:
    """../shared/data; the test is skipped if it does not exist."""
    if not DATA.is_dir():
        pytest.skip("needs the real clips of ../shared/data, which are not part of the project")
    return DATA
