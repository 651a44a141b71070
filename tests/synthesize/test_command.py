"""The command fsv2v synthesize: files of the user are not changed, and messages contain the names that the user gave."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from stages.clip import as_clip, open_clip, probe
from stages.clip.ffmpeg import executable
from stages.clip.pack import pack
from stages.extract_sketch import SketchOptions, extract
from stages.models import save_model
from stages.networks.fewshot.config import PRESETS
from stages.networks.fewshot.generator import FewShotGenerator

TINY = PRESETS["tiny"]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    save_model(tmp_path / "tiny.safetensors", FewShotGenerator(TINY).state_dict(), TINY, {"step": 0})
    return tmp_path / "tiny.safetensors"


@pytest.fixture
def command(model, tmp_path, face_video, fsv2v):
    """command(examples, driving, ...): runs synthesize in tmp_path, which contains face.mp4."""
    shutil.copy(face_video, tmp_path / "face.mp4")

    def run(examples: object, driving: object, *arguments: object):
        options = ("--model", model, "--backend", "dlib", "--device", "cpu")
        return fsv2v("synthesize", "--examples", examples, "--driving", driving, *options, *arguments, cwd=tmp_path)

    return run


@pytest.fixture(scope="module")
def talk(face_video, tmp_path_factory) -> Path:
    """A clip of a talking face with landmarks, whose video has sound."""
    folder = tmp_path_factory.mktemp("talk")
    tone = ["-f", "lavfi", "-i", "sine=duration=0.5", "-c:v", "copy", "-c:a", "aac", "-shortest"]
    subprocess.run([executable(), "-v", "error", "-i", face_video, *tone, folder / "talk.mp4"], check=True)
    clip = as_clip(folder / "talk.mp4", folder)
    extract(clip, SketchOptions(backend="dlib"))
    return clip.path


@pytest.mark.parametrize("container", ["mp4", "mkv", "mov"])
def test_a_video_with_sound_is_skipped_the_second_time(container, command, talk, tmp_path):
    for _ in range(2):
        done = command(talk, talk, "-o", f"out.{container}", "--json")
        assert done.exit_code == 0, done.stderr
        before = (tmp_path / f"out.{container}").read_bytes()
    assert '"status": "skipped"' in done.stdout and probe(tmp_path / f"out.{container}").has_audio
    refused = command(talk, talk, "-o", f"out.{container}", "--compare")
    assert refused.exit_code == 3 and "parameters.compare: false -> true" in refused.stderr
    assert (tmp_path / f"out.{container}").read_bytes() == before


def test_a_variable_rate_causes_a_warning_about_sound_only_for_videos(command, talk, tmp_path):
    """Intervals are 0.04 s up to frame 6, and then 0.2 s. At the mean rate of 11 in 1.24 s, frame 6 is at 0.68 s instead of 0.24 s."""
    tone = ["-f", "lavfi", "-i", "sine=duration=1.5", "-vf", "setpts='(N+4*max(0,N-6))/(25*TB)'", "-fps_mode", "passthrough", "-c:a", "aac"]
    subprocess.run([executable(), "-v", "error", "-i", tmp_path / "face.mp4", *tone, tmp_path / "talk.mp4"], check=True)

    stderr = command(talk, "talk.mp4", "-o", "out.mp4").stderr
    assert "talk: a variable rate is written at its mean, so that frames are up to 0.44 s apart from the sound" in stderr
    assert "apart" not in command(talk, "talk.mp4", "-o", "out.clip").stderr


def test_a_source_of_the_result_is_never_replaced(command, tmp_path):
    before = (tmp_path / "face.mp4").read_bytes()
    for arguments in (("face.mp4", "face.mp4"), ("face.mp4", "face.mp4", "-o", "face.mp4")):
        refused = command(*arguments, "--overwrite")  # without -o the result would have the examples' name
        assert refused.exit_code == 2 and "is its own source" in refused.stderr
    assert (tmp_path / "face.mp4").read_bytes() == before


@pytest.mark.parametrize("packed", [False, True])
def test_no_layers_are_added_to_the_driving_clip(packed, command, talk, fsv2v, tmp_path, content):
    clip = Path(fsv2v("clip", "import", "face.mp4", "-o", "talk.clip", cwd=tmp_path).lines[0])
    driving = pack(tmp_path / clip) if packed else tmp_path / clip
    before = content(tmp_path / clip)
    done = command(talk, driving, "-o", "out.clip")
    assert done.exit_code == 0, done.stderr
    assert content(tmp_path / clip) == before and open_clip(tmp_path / "out.clip").num_frames == 12


def test_errors_contain_the_paths_that_the_user_gave(command, tmp_path):
    (tmp_path / "imgs").mkdir()
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(tmp_path / "imgs" / "nobody.png")
    failed = command("imgs", "face.mp4", "-o", "out.mp4")
    assert failed.exit_code == 3 and "imgs/nobody.png" in failed.stderr and "fsv2v-" not in failed.stderr
    assert not (tmp_path / "out.mp4").exists()
