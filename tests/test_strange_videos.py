"""Unusual but valid videos and images are read correctly. The whole table: `python tools/strange_videos.py`."""

from __future__ import annotations

import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import strange_videos as tool
from strange_files import STRANGE_FILES, Coding, Setup, StrangeFile, Truth, write

from stages.clip import read_frames

FILES_TO_READ = [
    *("matrix mirrored", "matrix transposed", "EXIF 2", "EXIF 5", "EXIF 7", "EXIF 6 in WebP", "rotated AVIF"),
    *("edit list that hides both ends", "negative timestamps", "timestamps that wrap around"),
    *("4:2:0, 10 bits", "grey AV1, limited range", "alpha, VP9", "AVIF with alpha", "16 bit grey PNG", "ICC profile, AVIF"),
    *("two videos, a data stream and chapters", "cover art before the video", "cover art of an audio file"),
    *("APNG named .png", "WebP animation", "AVIF animation"),
    *("images with gaps in their numbers", "images of several formats in one folder"),
]
"""Files that no other test reads."""
FILES_TO_EXPORT = ["edit list of a video that starts late", "B-frames in a fragmented mp4"]


@pytest.mark.parametrize("name", FILES_TO_READ)
def test_a_file_is_read_correctly(name: str, tmp_path: Path) -> None:
    cells = tool.verdicts(name, tmp_path, small=True, only_read=True)
    assert {column: verdict for column, verdict in cells.items() if not tool.is_right(verdict)} == {}


@pytest.mark.parametrize("name", FILES_TO_EXPORT)
def test_an_exported_video_keeps_its_sound_in_sync(name: str, tmp_path: Path) -> None:
    cells = tool.verdicts(name, tmp_path, small=True)
    assert {column: verdict for column, verdict in cells.items() if not tool.is_right(verdict)} == {}
    assert cells["sound"] == cells["out"] == "ok"


@pytest.mark.parametrize("bits", [8, 10])
def test_colours_of_a_video_are_not_shifted(bits: int, tmp_path: Path) -> None:
    """2048 colours in 4:2:0: the only errors are those of rounding, whose mean is 0."""
    colours = np.random.default_rng(0).integers(0, 256, (32, 64, 3), np.uint8)
    image = colours.repeat(8, 0).repeat(8, 1)
    write(Setup(tmp_path), tmp_path / "colours.mp4", Coding(bits=bits), frames=[image])
    error = next(read_frames(tmp_path / "colours.mp4"))[4::8, 4::8].astype(int) - colours
    assert np.abs(error).max() <= 2 and np.abs(error.mean((0, 1))).max() < 0.1


@pytest.fixture(scope="module")
def video_with_sound(tmp_path_factory: pytest.TempPathFactory) -> tuple[tool.DecodedVideo, Path, Truth]:
    """(decoded video, clip, ground truth) of a video with sound."""
    folder = tmp_path_factory.mktemp("sound")
    truth = STRANGE_FILES["sound that starts late"].make(Setup(folder, (64, 48), 10), folder / "late.mov")
    return (*tool.read_by_fsv2v(folder / "late.mov", folder), truth)


@pytest.mark.parametrize(
    ("column", "wrong"),
    [
        ("frames", lambda truth: {"numbers": (*truth.numbers[:4], 9, *truth.numbers[5:])}),
        ("frames", lambda truth: {"numbers": truth.numbers[1:]}),
        ("times", lambda truth: {"times": (*truth.times[:-1], truth.times[-1] + Fraction(1, 1000))}),
        ("colour", lambda truth: {"patches": truth.patches + [0, 4, 0]}),
        ("orientation", lambda truth: {"orientation": 2}),
        ("size", lambda truth: {"size": (48, 64)}),
    ],
)
def test_a_wrong_truth_changes_only_the_verdict_of_its_column(column, wrong, video_with_sound) -> None:
    decoded, _, truth = video_with_sound
    cells = tool.compare(decoded, replace(truth, **wrong(truth)))
    assert [name for name, verdict in cells.items() if verdict != "ok"] == [column]


def test_sound_that_is_more_than_half_a_frame_off_is_a_fault(video_with_sound, tmp_path: Path) -> None:
    _, clip, truth = video_with_sound
    cells = tool.compare_export(clip, replace(truth, sound=truth.sound - Fraction(1, 49)), tmp_path)
    assert cells == {"out": "ok", "sound": "+0.020 s"}


def test_a_wrong_cell_is_printed_and_gives_exit_code_1(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    correct = STRANGE_FILES["WebP"]
    wrong = StrangeFile(lambda setup, path: replace(correct.make(setup, path), orientation=3), correct.file, correct.encoder)
    for name, file, code in (("WebP", correct, 0), ("WebP", wrong, 1)):
        monkeypatch.setitem(STRANGE_FILES, name, file)
        monkeypatch.setattr(sys, "argv", ["strange_videos.py", "--small", "--only", name])
        with pytest.raises(SystemExit) as end:
            tool.main()
        assert end.value.code == code
        assert ("as EXIF 1, not 3" in capsys.readouterr().out) == bool(code)


def test_a_file_without_its_encoder_is_skipped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(STRANGE_FILES, "WebP", replace(STRANGE_FILES["WebP"], encoder="absent"))
    assert tool.verdicts("WebP", tmp_path) == {"frames": "no encoder absent"}
