"""The shell scripts of examples/pipelines do what their headings say, with any file name."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
import skimage.data
import torch

from stages.backends import Backends
from stages.clip import VideoWriter, open_clip, probe
from stages.clip.comments import read_comment

PIPELINES = Path(__file__).parents[2] / "examples" / "pipelines"
SCRIPTS = sorted(PIPELINES.glob("*.sh"))

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")


@pytest.fixture
def script(tmp_path: Path):
    """script(name, ...): runs a script with the command fsv2v on PATH, even if the package is not installed."""
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "fsv2v"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m fsv2v_cli "$@"\n')
    command.chmod(0o755)
    root = str(PIPELINES.parents[1])
    environment = {**os.environ, "PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": root, "OMP_NUM_THREADS": "1"}

    def run(name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["bash", PIPELINES / name, *arguments], env=environment, cwd=tmp_path, text=True, capture_output=True)

    return run


def face_video(path: Path, frames: int = 4) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, 200, 200, Fraction(25)) as video:
        for index in range(frames):
            video.write(skimage.data.astronaut()[:200, 120 + index : 320 + index])
    return path


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_each_script_stops_at_errors_and_says_how_to_call_it(script, path: Path):
    assert "set -euo pipefail" in path.read_text() and os.access(path, os.X_OK)
    result = script(path.name)
    assert result.returncode == 2
    assert path.name in result.stderr and result.stdout == ""


def test_batch_sketches_takes_any_name_reports_each_video_and_skips_what_is_finished(script, tmp_path: Path):
    if not any(Backends("landmarks").get(name).available for name in Backends("landmarks").names()):
        pytest.skip("no landmark detector is available")
    face_video(tmp_path / "videos" / "two words.mp4")
    face_video(tmp_path / "videos" / "deeper" / "größe 'x'.mp4")
    (tmp_path / "videos" / "broken.mp4").write_bytes(b"not a video")

    first = script("batch-sketches.sh", tmp_path / "videos", tmp_path / "out")
    assert first.returncode == 3 and "2 done, 0 skipped, 1 failed" in first.stderr
    rows = [json.loads(line) for line in (tmp_path / "out" / "report.ndjson").read_text().splitlines()]
    assert [row["status"] for row in rows].count("done") == 2
    clips = (tmp_path / "out" / "clips.txt").read_text().splitlines()
    assert [Path(clip).stem for clip in clips] == ["größe 'x'", "two words"]
    assert all(open_clip(clip).has("sketch") for clip in clips)

    again = script("batch-sketches.sh", tmp_path / "videos", tmp_path / "out")
    assert "0 done, 2 skipped, 1 failed" in again.stderr


def test_one_photograph_is_animated_by_each_video_that_shows_a_face(script, tmp_path: Path):
    if not any(Backends("landmarks").get(name).available for name in Backends("landmarks").names()):
        pytest.skip("no landmark detector is available")
    face_video(tmp_path / "videos" / "two words.mp4")
    face_video(tmp_path / "videos" / "deeper" / "b.mp4", frames=3)
    (tmp_path / "videos" / "broken.mp4").write_bytes(b"not a video")
    arguments = ["one-photograph.sh", PIPELINES.parent / "astronaut.png", tmp_path / "videos", tmp_path / "out"]

    first = script(*arguments, "--json", "--size", "model")
    assert first.returncode == 3 and "broken.mp4" in first.stderr
    rows = [json.loads(line) for line in first.stdout.splitlines()]
    assert [(Path(row["clip"]).name, row["status"], row["frames"]) for row in rows] == [("b.mp4", "done", 3), ("two words.mp4", "done", 4)]

    again = script(*arguments, "--json", "--size", "model")
    assert [json.loads(line)["status"] for line in again.stdout.splitlines()] == ["skipped", "skipped"]


def test_a_street_is_continued_beyond_its_end_from_its_last_real_frames(script, tmp_path: Path, make_drift_clip):
    """The predicted label maps drive a video that continues the observed frames, which the script passes as --start."""
    from stages.models import save_model
    from stages.networks.future import PRESETS as FUTURE
    from stages.networks.future import Future
    from stages.networks.vid2vid import PRESETS as VIDEO
    from stages.networks.vid2vid import Vid2Vid

    torch.manual_seed(0)
    drive = make_drift_clip(tmp_path / "my drive.clip", 0)
    future, video = FUTURE["tiny-future"], replace(VIDEO["tiny-vid2vid"], kind="segment", semantic_channels=3)
    save_model(tmp_path / "future.safetensors", Future(future).state_dict(), future, {"step": 0})
    save_model(tmp_path / "video.safetensors", Vid2Vid(video).state_dict(), video, {"step": 0})

    arguments = [drive, tmp_path / "out", tmp_path / "future.safetensors", tmp_path / "video.safetensors", "3"]
    done = script("future.sh", *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(tmp_path / "out" / "future.mp4")] and "1 segment" not in done.stderr
    assert probe(tmp_path / "out" / "future.mp4").num_frames == open_clip(tmp_path / "out" / "future.clip").num_frames == 3
    assert "start" in json.loads(read_comment(tmp_path / "out" / "future.mp4") or "")["parameters"]
