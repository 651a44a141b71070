"""A disk that is full or may not be written: a sentence, and nothing half-made."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numbered_frames import numbered

from stages.clip import Producer, VideoWriter, as_clip, create_clip
from stages.clip.pack import pack
from stages.errors import InputError


def mounted(folder: Path, options: str) -> Iterator[Path]:
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("needs the right to mount a small file system; file size limits are tested without it")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    (tmp_path / "disk").mkdir()
    yield from mounted(tmp_path / "disk", "size=1m")


def noise(count: int) -> Iterator[np.ndarray]:
    random = np.random.default_rng(0)
    return (random.integers(0, 255, (240, 320, 3), np.uint8) for _ in range(count))


def test_a_layer_on_a_full_disk(small_disk):
    clip = create_clip(small_disk / "x.clip", width=320, height=240, num_frames=100)

    with pytest.raises(InputError, match="the disk is full"), clip.writing("sketch", Producer("test"), {}) as layer:
        for frame in noise(100):
            layer.image(frame[:, :, 0])
    assert os.listdir(clip.path) == ["clip.json"]


def test_a_clip_on_a_full_disk(small_disk):
    with pytest.raises(InputError, match="the disk is full"):
        create_clip(small_disk / "x.clip", noise(50))
    assert os.listdir(small_disk) == []


def test_a_video_on_a_full_disk(small_disk):
    with pytest.raises(InputError, match="the disk is full"), VideoWriter(small_disk / "x.mp4", 320, 240, Fraction(25)) as writer:
        for frame in noise(200):
            writer.write(frame)
    assert os.listdir(small_disk) == []


def test_sound_on_a_full_disk(small_disk, tmp_path, ffmpeg):
    ffmpeg("-f", "lavfi", "-i", "anoisesrc=d=60", "-f", "lavfi", "-i", "color=s=32x32:d=60", "-c:a", "pcm_s16le", tmp_path / "loud.mkv")

    with pytest.raises(InputError, match="the disk is full"):
        as_clip(tmp_path / "loud.mkv", small_disk)
    assert os.listdir(small_disk) == []


def test_a_packed_clip_on_a_full_disk(small_disk, tmp_path):
    clip = create_clip(tmp_path / "x.clip", noise(20))

    with pytest.raises(InputError, match="the disk is full"):
        pack(clip.path, small_disk / "x.zip")
    assert os.listdir(small_disk) == []


@pytest.fixture
def read_only_clip(tmp_path: Path) -> Iterator[Path]:
    """A clip on a file system that was made read-only."""
    (tmp_path / "disk").mkdir()
    for disk in mounted(tmp_path / "disk", "size=4m"):
        create_clip(disk / "x.clip", [numbered(0), numbered(1)])
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        yield disk / "x.clip"


def test_a_layer_on_a_read_only_disk(read_only_clip):
    clip = as_clip(read_only_clip)

    with pytest.raises(InputError, match="the file system is read-only"), clip.writing("sketch", Producer("test"), {}) as layer:
        layer.image(np.zeros((48, 64), np.uint8))
    assert clip.frame(1).shape == (48, 64, 3)


def test_a_clip_on_a_read_only_disk(read_only_clip, video):
    with pytest.raises(InputError, match="the file system is read-only"):
        as_clip(video, read_only_clip.parent)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write into folders without the right to")
def test_a_folder_without_the_right_to_write(tmp_path, video):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(InputError, match="permission denied"):
            as_clip(video, tmp_path)
    finally:
        tmp_path.chmod(0o700)


def test_a_place_below_a_file(tmp_path, video):
    (tmp_path / "file").write_text("not a folder")

    with pytest.raises(InputError, match="cannot be written: a part of the path is a file"):
        as_clip(video, tmp_path / "file" / "inside")
