"""A clip is split into one clip per shot."""

from __future__ import annotations

import json
import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from stages.clip import Clip, Timestamps, create_clip, read_frames
from stages.clip.split import find_cuts, find_shots, write_shots
from stages.clip.validate import validate
from stages.errors import InputError, ParametersDiffer


def make_shot(seed: int, length: int, width: int = 64, height: int = 48) -> list[np.ndarray]:
    """Frames of coloured squares that drift by a pixel per frame."""
    squares = np.random.default_rng(seed).integers(0, 255, (height // 8, width // 4, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    return [np.ascontiguousarray(squares[:, t % width : t % width + width]) for t in range(length)]


@pytest.fixture
def film(tmp_path: Path) -> Clip:
    """Shots of 20, 3 and 15 frames at 10 per second."""
    return create_clip(tmp_path / "film.clip", make_shot(0, 20) + make_shot(1, 3) + make_shot(2, 15), fps=Fraction(10))


def test_shots_lie_between_cuts_and_short_ones_are_listed_apart(film):
    assert find_shots(film) == ([(0, 20), (23, 38)], [(20, 23)])
    assert find_shots(film, min_seconds=0).kept == [(0, 20), (20, 23), (23, 38)]
    with pytest.raises(InputError, match=r"No shot of .*film.clip lasts 3 s"):
        find_shots(film, min_seconds=3)


@pytest.mark.parametrize("index", [1, 2, 10, 18, 19])
def test_a_cut_is_found_at_any_position(index):
    assert find_cuts(make_shot(0, index) + make_shot(1, 20 - index)) == {index}


def test_motion_without_a_cut_is_one_shot():
    assert find_cuts(make_shot(0, 60)) == set()


def test_every_shot_is_a_clip_with_its_frames_and_their_range_in_the_source(film, tmp_path):
    written = list(write_shots(film, find_shots(film).kept, tmp_path / "shots", "film", "png"))

    assert [(clip.path.name, clip.num_frames, status) for clip, status in written] == [
        ("film-000.clip", 20, "done"),
        ("film-001.clip", 15, "done"),
    ]
    last = written[1][0]
    assert all(map(np.array_equal, last.frames(), film.frames(23, 38))) and last.fps == 10
    assert last.source is not None and last.source["range"] == [23, 38]
    assert validate(last.path).errors == []


def test_a_shot_of_a_shot_refers_to_the_video_and_its_frame_numbers(video, tmp_path, clip):
    [(first, _)] = write_shots(clip, [(40, 90)], tmp_path / "a", "first")
    [(second, _)] = write_shots(first, [(10, 20)], tmp_path / "b", "second")
    assert first.source_path() == second.source_path() == video
    assert second.source is not None and clip.source is not None
    assert second.source["range"] == [50, 60] and second.source["sha256"] == clip.source["sha256"]


def test_a_shot_keeps_the_times_of_a_variable_rate(tmp_path):
    ticks = (0, 100, 200, 900, 1000, 1050)
    times = Timestamps(Fraction(1, 1000), ticks)
    clip = create_clip(tmp_path / "variable.clip", make_shot(0, 3) + make_shot(1, 3), fps=Fraction(6), timestamps=times)
    assert find_shots(clip, min_seconds=0.5).kept == [(0, 3)], "this shot lasts 0.9 s, the other 0.15 s, although both have three frames"
    [(second, _)] = write_shots(clip, [(3, 6)], tmp_path, "second")
    assert second.timestamps is not None and second.timestamps.ticks == (0, 100, 150)
    assert second.fps == Fraction(40, 3)


def test_the_same_split_is_skipped_and_another_is_refused(film, tmp_path):
    shots, out = find_shots(film, 0).kept, tmp_path / "shots"
    list(write_shots(film, shots, out, "film"))
    assert [status for _, status in write_shots(film, shots, out, "film")] == ["skipped"] * 3
    with pytest.raises(ParametersDiffer, match=r'parameters.storage: "jpg" -> "png"'):
        list(write_shots(film, shots, out, "film", "png"))
    with pytest.raises(ParametersDiffer, match=r"holds 1 more shots of another split \(film-002.clip\)"):
        list(write_shots(film, shots[:2], out, "film", overwrite=True))
    assert [status for _, status in write_shots(film, shots, out, "film", "png", overwrite=True)] == ["done"] * 3


def test_the_command_split_writes_the_shots_and_names_the_short_ones(fsv2v, film, tmp_path):
    result = fsv2v("clip", "split", film.path, "-o", tmp_path / "shots", "--json")
    assert [json.loads(line)["range"] for line in result.lines] == [[0, 20], [23, 38]]
    assert "1 of 3 shots are shorter than 0.5 s and are left out" in result.stderr
    again = fsv2v("clip", "split", film.path, "-o", tmp_path / "shots", "--json", "-q")
    assert [json.loads(line)["status"] for line in again.lines] == ["skipped"] * 2 and again.stderr == ""
    assert sorted(os.listdir(tmp_path / "shots")) == ["film-000.clip", "film-001.clip"]


def test_the_cut_of_a_real_video(real_media, fsv2v, tmp_path):
    frames = list(read_frames(real_media / "faces/moore_1.mp4", 250, 290))
    assert find_cuts(frames) == {19}
