"""Strange but legal videos and pictures are read as they were made. The whole table: `python tools/strange_videos.py`."""

from __future__ import annotations

import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import strange_videos as tool
from strange_files import KINDS, Bench, Coding, Kind, Truth, write

from stages.clip import read_frames

READ = [
    *("matrix mirrored", "matrix transposed", "EXIF 2", "EXIF 5", "EXIF 7", "EXIF 6 in WebP", "turned AVIF"),
    *("edit list that hides both ends", "negative timestamps", "timestamps that wrap around"),
    *("4:2:0, 10 bits", "grey AV1, limited range", "alpha, VP9", "AVIF picture with alpha", "16 bit grey PNG", "ICC profile, AVIF"),
    *("two videos, a data stream and chapters", "cover art before the video", "cover art of a sound"),
    *("APNG named .png", "WebP animation", "AVIF animation"),
    *("pictures with gaps in their numbers", "pictures of several kinds in one folder"),
]
"""What other tests do not read already."""
READ_AND_WRITTEN = ["edit list of a late video", "B-frames in a fragmented mp4"]


@pytest.mark.parametrize("name", READ)
def test_it_is_read_as_it_was_made(name: str, tmp_path: Path) -> None:
    found = tool.verdicts(name, tmp_path, small=True, only_read=True)
    assert {column: verdict for column, verdict in found.items() if not tool.is_right(verdict)} == {}


@pytest.mark.parametrize("name", READ_AND_WRITTEN)
def test_it_goes_out_with_its_sound_in_time(name: str, tmp_path: Path) -> None:
    found = tool.verdicts(name, tmp_path, small=True)
    assert {column: verdict for column, verdict in found.items() if not tool.is_right(verdict)} == {}
    assert found["sound"] == found["out"] == "ok"


@pytest.mark.parametrize("bits", [8, 10])
def test_colours_of_a_video_are_not_shifted(bits: int, tmp_path: Path) -> None:
    """2048 colours, 4:2:0: rounding alone is left, of which the mean is nothing."""
    colours = np.random.default_rng(0).integers(0, 256, (32, 64, 3), np.uint8)
    image = colours.repeat(8, 0).repeat(8, 1)
    write(Bench(tmp_path), tmp_path / "colours.mp4", Coding(bits=bits), frames=[image])
    off = next(read_frames(tmp_path / "colours.mp4"))[4::8, 4::8].astype(int) - colours
    assert np.abs(off).max() <= 2 and np.abs(off.mean((0, 1))).max() < 0.1


@pytest.fixture(scope="module")
def sounding(tmp_path_factory: pytest.TempPathFactory) -> tuple[tool.Seen, Path, Truth]:
    """What is seen of a video with sound, its clip, and its truth."""
    folder = tmp_path_factory.mktemp("sounding")
    truth = KINDS["sound that starts late"].make(Bench(folder, (64, 48), 10), folder / "late.mov")
    return (*tool.read_by_fsv2v(folder / "late.mov", folder), truth)


@pytest.mark.parametrize(
    ("column", "wrong"),
    [
        ("frames", lambda truth: {"numbers": (*truth.numbers[:4], 9, *truth.numbers[5:])}),
        ("frames", lambda truth: {"numbers": truth.numbers[1:]}),
        ("times", lambda truth: {"times": (*truth.times[:-1], truth.times[-1] + Fraction(1, 1000))}),
        ("colour", lambda truth: {"patches": truth.patches + [0, 4, 0]}),
        ("turned", lambda truth: {"orientation": 2}),
        ("shape", lambda truth: {"size": (48, 64)}),
    ],
)
def test_another_truth_gives_another_verdict_in_its_column_alone(column, wrong, sounding) -> None:
    seen, _, truth = sounding
    found = tool.compare(seen, replace(truth, **wrong(truth)))
    assert [name for name, verdict in found.items() if verdict != "ok"] == [column]


def test_sound_that_is_more_than_half_a_frame_off_is_a_fault(sounding, tmp_path: Path) -> None:
    _, clip, truth = sounding
    found = tool.compare_export(clip, replace(truth, sound=truth.sound - Fraction(1, 49)), tmp_path)
    assert found == {"out": "ok", "sound": "+0.020 s"}


def test_a_wrong_cell_is_shown_and_makes_the_exit_code_1(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    sound = KINDS["WebP"]
    wrong = Kind(lambda bench, path: replace(sound.make(bench, path), orientation=3), sound.file, sound.encoder)
    for name, kind, code in (("WebP", sound, 0), ("WebP", wrong, 1)):
        monkeypatch.setitem(KINDS, name, kind)
        monkeypatch.setattr(sys, "argv", ["strange_videos.py", "--small", "--only", name])
        with pytest.raises(SystemExit) as end:
            tool.main()
        assert end.value.code == code
        assert ("as EXIF 1, not 3" in capsys.readouterr().out) == bool(code)


def test_a_file_whose_encoder_is_missing_is_left_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(KINDS, "WebP", replace(KINDS["WebP"], encoder="lost"))
    assert tool.verdicts("WebP", tmp_path) == {"frames": "no encoder lost"}
