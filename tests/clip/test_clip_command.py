"""The command `fsv2v clip` and its subcommands."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from stages.clip import Producer


def test_import_prints_the_paths_of_the_clips_and_finds_them_again(fsv2v, video, images, tmp_path):
    for _ in range(2):
        result = fsv2v("clip", "import", video, images, "-o", tmp_path / "out")

        assert (result.exit_code, result.stderr) == (0, "")
        assert result.lines == [str(tmp_path / "out" / name) for name in ("numbered.clip", "pictures.clip")]


def test_paths_are_read_from_stdin_one_per_line_or_separated_by_nul(fsv2v, video, clip, tmp_path):
    with_newline = tmp_path / "two\nlines.clip"
    clip.path.rename(with_newline)

    assert fsv2v("clip", "validate", "-0", "-", stdin=f"{with_newline}\0").exit_code == 0
    assert fsv2v("clip", "import", "-", "-o", tmp_path / "out", stdin=f"{video}\n\n").lines == [str(tmp_path / "out" / "numbered.clip")]


def test_info_is_text_or_json(fsv2v, clip):
    text = fsv2v("clip", "info", clip.path).stdout
    record = json.loads(fsv2v("clip", "info", "--json", clip.path).stdout)

    assert "64 x 48, 100 frames, 30000/1001 frames per second" in text
    assert (record["fps"], record["num_frames"], list(record["layers"])) == ("30000/1001", 100, ["audio", "frames"])


def test_preview_prints_the_paths_of_its_files(fsv2v, clip, tmp_path):
    result = fsv2v("clip", "preview", clip.path, "--columns", 3, "--height", 48)

    assert result.lines == [str(tmp_path / "numbered.preview.png"), str(tmp_path / "numbered.preview.mp4")]
    assert Image.open(tmp_path / "numbered.preview.png").size == (3 * 64, 48 + 22)


def test_validate_exits_with_5_when_a_clip_is_damaged(fsv2v, clip, small_clip):
    (small_clip.path / "frames" / "000001.png").write_bytes(b"x")

    result = fsv2v("clip", "validate", clip.path, small_clip.path)

    assert result.exit_code == 5
    assert result.lines == [str(clip.path)]
    assert "digest differs" in result.stderr


def test_the_format_of_a_newer_clip_is_named_with_exit_code_5(fsv2v, small_clip):
    path = small_clip.path / "clip.json"
    path.write_text(path.read_text().replace("fsv2v.clip/1", "fsv2v.clip/2"))

    result = fsv2v("clip", "info", small_clip.path)

    assert result.exit_code == 5
    assert "fsv2v.clip/2" in result.stderr


def test_one_bad_input_does_not_stop_the_others_and_the_exit_code_is_3(fsv2v, video, tmp_path):
    (tmp_path / "bad.mp4").write_bytes(b"")

    result = fsv2v("clip", "import", "--json", tmp_path / "bad.mp4", video, "-o", tmp_path / "out")

    assert result.exit_code == 3
    records = [json.loads(line) for line in result.lines]
    assert [record["status"] for record in records] == ["failed", "done"]
    assert "empty file" in records[0]["reason"]


def test_a_packed_and_unpacked_clip_is_valid(fsv2v, clip, tmp_path):
    assert fsv2v("clip", "pack", clip.path, "-o", tmp_path / "zips").lines == [str(tmp_path / "zips" / "numbered.zip")]
    assert fsv2v("clip", "unpack", tmp_path / "zips" / "numbered.zip").lines == [str(tmp_path / "zips" / "numbered.clip")]
    assert fsv2v("clip", "validate", tmp_path / "zips" / "numbered.clip").exit_code == 0


def test_export_replaces_an_existing_file_only_with_overwrite(fsv2v, clip, tmp_path):
    (tmp_path / "movie.mp4").write_text("another")

    assert fsv2v("clip", "export", clip.path, "-o", tmp_path / "movie.mp4").exit_code == 3
    assert fsv2v("clip", "export", clip.path, "-o", tmp_path / "movie.mp4", "--overwrite").lines == [str(tmp_path / "movie.mp4")]


def test_each_of_several_exported_clips_gets_a_folder(fsv2v, clip, small_clip, tmp_path):
    with small_clip.writing("segment", Producer("test"), {}) as layer:
        for value in range(6):
            layer.image(np.full((48, 64), value, np.uint8))

    result = fsv2v("clip", "export", clip.path, small_clip.path, "--layer", "frames", "-o", tmp_path / "all")

    assert result.lines == [str(tmp_path / "all" / name) for name in ("numbered", "small")]
    assert len(os.listdir(tmp_path / "all" / "small")) == 6


@pytest.mark.parametrize(
    "arguments", [["info"], ["export", "x.clip"], ["import", "--fps", "0", "x"], ["import", "--size", "9", "x"], ["burn", "x"]]
)
def test_wrong_usage_gives_exit_code_2(arguments, fsv2v):
    result = fsv2v("clip", *arguments)

    assert (result.exit_code, result.stdout) == (2, "")


def test_help_imports_no_heavy_package(fsv2v):
    result = fsv2v("clip", "import", "--help", env={"PYTHONPROFILEIMPORTTIME": "1"})

    assert result.exit_code == 0
    assert not any(f" {name}\n" in result.stderr for name in ("torch", "cv2", "numpy", "PIL", "ffmpeg"))


def test_importing_images_again_at_another_rate_is_refused(fsv2v, images, tmp_path):
    results = [fsv2v("clip", "import", images, "-o", tmp_path / "out", *rate) for rate in ((), ("--fps", 25), ("--fps", 30))]
    assert [result.exit_code for result in results] == [0, 0, 3]
    assert "fps: 25 -> 30" in results[-1].stderr


@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        ("29.97", "30000/1001"), ("23.976", "24000/1001"), ("23.98", "24000/1001"), ("59.94", "60000/1001"),
        ("25", "25/1"), ("12.5", "25/2"), ("29.9", "299/10"), ("2997/100", "2997/100"),
    ],
)  # fmt: skip
def test_rounded_television_rates_mean_the_exact_fractions(typed, stored, fsv2v, images, tmp_path):
    assert fsv2v("clip", "import", images, "-o", tmp_path / "out", "--fps", typed).exit_code == 0
    assert json.loads((tmp_path / "out" / "pictures.clip" / "clip.json").read_text())["fps"] == stored


@pytest.mark.parametrize("name", ["pack", "preview"])
def test_two_inputs_with_the_same_output_are_refused(name, fsv2v, small_clip, tmp_path):
    other = shutil.copytree(small_clip.path, tmp_path / "other" / small_clip.path.name)
    result = fsv2v("clip", name, small_clip.path, other, "-o", tmp_path / "out")
    assert result.exit_code == 2 and f"{other} and {small_clip.path} have the same output" in result.stderr
    assert len(result.lines) == (1 if name == "pack" else 2)  # of the first one


def test_an_output_folder_that_is_a_file_is_refused(fsv2v, images, tmp_path):
    (tmp_path / "file").write_text("mine")
    result = fsv2v("clip", "import", images, "-o", tmp_path / "file")
    assert result.exit_code == 3 and "does not exist" not in result.stderr and (tmp_path / "file").read_text() == "mine"


def test_an_export_never_replaces_the_source_of_the_clip(fsv2v, video, tmp_path):
    fsv2v("clip", "import", video, "-o", tmp_path / "a.clip")
    before = video.read_bytes()
    result = fsv2v("clip", "export", tmp_path / "a.clip", "-o", video, "--overwrite")
    assert result.exit_code == 2 and "is its own source" in result.stderr and video.read_bytes() == before


@pytest.fixture
def slowing_clip(fsv2v, tmp_path, ffmpeg):
    """A clip with sound: 20 frames at 20 per second, then 20 at 10 per second."""
    source = ["-f", "lavfi", "-i", "testsrc=s=64x48:r=20:d=2", "-f", "lavfi", "-i", "sine=duration=3"]
    keep_times = ["-fps_mode", "passthrough", "-enc_time_base", "1:1000", "-c:v", "libx264", "-bf", "0"]
    ffmpeg(*source, "-vf", "setpts='(N+max(0,N-20))/(20*TB)'", *keep_times, tmp_path / "slowing.mkv")
    assert fsv2v("clip", "import", tmp_path / "slowing.mkv", "-o", tmp_path / "slowing.clip").exit_code == 0
    return tmp_path / "slowing.clip"


def test_a_warning_says_that_sound_and_frames_of_a_variable_rate_drift_apart(slowing_clip, fsv2v, tmp_path):
    """At the mean rate, 39 / 2.9 frames per second, frame 20 is shown at 20 * 2.9 / 39 = 1.49 s instead of 1 s."""
    exported = fsv2v("clip", "export", slowing_clip, "-o", tmp_path / "out.mp4")
    preview = fsv2v("clip", "preview", slowing_clip, "-o", tmp_path / "preview")
    images = fsv2v("clip", "export", slowing_clip, "-o", tmp_path / "pictures")

    for result in (exported, preview):
        assert result.exit_code == 0
        assert "frames are up to 0.49 s apart from the sound. Make the rate constant first and import that: ffmpeg -i" in result.stderr
    assert (images.exit_code, images.stderr) == (0, "")


def test_a_constant_rate_gives_no_such_warning(video, fsv2v, tmp_path):
    fsv2v("clip", "import", video, "-o", tmp_path / "a.clip")

    assert "apart" not in fsv2v("clip", "export", tmp_path / "a.clip", "-o", tmp_path / "out.mp4").stderr
