"""On a full or read-only disk, every writer raises a clear error and leaves no partial file."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numbered_frames import numbered_frame

from stages.clip import Producer, VideoWriter, as_clip, create_clip
from stages.clip.pack import pack
from stages.errors import InputError


def mount_tmpfs(folder: Path, options: str) -> Iterator[Path]:
    """The folder with a tmpfs mounted on it, which is unmounted afterwards."""
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a small file system needs root; other tests limit the file size instead")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    (tmp_path / "disk").mkdir()
    yield from mount_tmpfs(tmp_path / "disk", "size=1m")


def noise_frames(count: int) -> Iterator[np.ndarray]:
    """uint8 [240, 320, 3] each."""
    random = np.random.default_rng(0)
    return (random.integers(0, 255, (240, 320, 3), np.uint8) for _ in range(count))


def test_writing_a_layer_to_a_full_disk_fails_cleanly(small_disk):
    clip = create_clip(small_disk / "x.clip", width=320, height=240, num_frames=100)

    with pytest.raises(InputError, match="the disk is full"), clip.writing("sketch", Producer("test"), {}) as layer:
        for frame in noise_frames(100):
            layer.image(frame[:, :, 0])
    assert os.listdir(clip.path) == ["clip.json"]


def test_writing_a_clip_to_a_full_disk_fails_cleanly(small_disk):
    with pytest.raises(InputError, match="the disk is full"):
        create_clip(small_disk / "x.clip", noise_frames(50))
    assert os.listdir(small_disk) == []


def test_writing_a_video_to_a_full_disk_fails_cleanly(small_disk):
    with pytest.raises(InputError, match="the disk is full"), VideoWriter(small_disk / "x.mp4", 320, 240, Fraction(25)) as writer:
        for frame in noise_frames(200):
            writer.write(frame)
    assert os.listdir(small_disk) == []


def test_copying_sound_to_a_full_disk_fails_cleanly(small_disk, tmp_path, ffmpeg):
    ffmpeg("-f", "lavfi", "-i", "anoisesrc=d=60", "-f", "lavfi", "-i", "color=s=32x32:d=60", "-c:a", "pcm_s16le", tmp_path / "loud.mkv")

    with pytest.raises(InputError, match="the disk is full"):
        as_clip(tmp_path / "loud.mkv", small_disk)
    assert os.listdir(small_disk) == []


def test_packing_a_clip_to_a_full_disk_fails_cleanly(small_disk, tmp_path):
    clip = create_clip(tmp_path / "x.clip", noise_frames(20))

    with pytest.raises(InputError, match="the disk is full"):
        pack(clip.path, small_disk / "x.zip")
    assert os.listdir(small_disk) == []


@pytest.fixture
def read_only_clip(tmp_path: Path) -> Iterator[Path]:
    """A clip of two frames on a read-only file system."""
    (tmp_path / "disk").mkdir()
    for disk in mount_tmpfs(tmp_path / "disk", "size=4m"):
        create_clip(disk / "x.clip", [numbered_frame(0), numbered_frame(1)])
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        yield disk / "x.clip"


def test_no_layer_can_be_added_on_a_read_only_disk_but_frames_can_be_read(read_only_clip):
    clip = as_clip(read_only_clip)

    with pytest.raises(InputError, match="the file system is read-only"), clip.writing("sketch", Producer("test"), {}) as layer:
        layer.image(np.zeros((48, 64), np.uint8))
    assert clip.frame(1).shape == (48, 64, 3)


def test_no_clip_can_be_made_on_a_read_only_disk(read_only_clip, video):
    with pytest.raises(InputError, match="the file system is read-only"):
        as_clip(video, read_only_clip.parent)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to any folder")
def test_a_folder_without_write_permission_is_refused(tmp_path, video):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(InputError, match="permission denied"):
            as_clip(video, tmp_path)
    finally:
        tmp_path.chmod(0o700)


def test_an_output_below_a_file_is_refused(tmp_path, video):
    (tmp_path / "file").write_text("not a folder")

    with pytest.raises(InputError, match="cannot be written: a part of the path is a file"):
        as_clip(video, tmp_path / "file" / "inside")
