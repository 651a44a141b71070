"""A stage that is killed at random moments and run again writes the same bytes as an undisturbed run.

FSV2V_KILLS is the number of times that each stage is killed (default 2). Training has its own test (tests/train/test_train.py), because
its losses must be the same.
"""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest
import torch

from stages.models import save_model
from stages.networks.fewshot.config import PRESETS
from stages.networks.fewshot.generator import FewShotGenerator
from stages.networks.future import PRESETS as FUTURE
from stages.networks.future import Future

KILLS = int(os.environ.get("FSV2V_KILLS", "2"))


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save_model(path, FewShotGenerator(PRESETS["tiny"]).state_dict(), PRESETS["tiny"], {"step": 0})
    return path


@pytest.fixture(scope="module")
def person(tmp_path_factory, make_painted_clip) -> Path:
    return make_painted_clip(tmp_path_factory.mktemp("person") / "person.clip", 0, num_frames=60)


@pytest.fixture(scope="module")
def drift(tmp_path_factory, make_drift_clip) -> tuple[Path, Path]:
    """A clip of label maps, and a model that predicts its continuation."""
    folder = tmp_path_factory.mktemp("drift")
    torch.manual_seed(0)
    config = FUTURE["tiny-future"]
    save_model(folder / "future.safetensors", Future(config).state_dict(), config, {"step": 0})
    return make_drift_clip(folder / "drift.clip", 0), folder / "future.safetensors"


@pytest.fixture
def commands(make_face_video, person, model, drift, tmp_path):
    """Stage -> a function from an output folder to the arguments of the command. The video belongs to this test alone."""
    video = make_face_video(tmp_path / "face.mp4", 30)
    return {
        "extract-sketch": lambda out: ["extract-sketch", video, "-o", out, "--backend", "dlib"],
        "extract-poses": lambda out: ["extract-poses", video, "-o", out],
        "segment": lambda out: ["segment", "--backend", "person", video, "-o", out],
        "build-dataset": lambda out: ["build-dataset", person, "-o", out, "--size", 64],
        "finetune": lambda out: [
            *("finetune", "--examples", person, "--model", model, "--steps", 20, "--perceptual", "none"),
            *("-o", out / "o.safetensors", "--device", "cpu"),
        ],
        "predict": lambda out: [
            *("predict", drift[0], "--model", drift[1], "--frames", 200),
            *("-o", out / "o.clip", "--device", "cpu"),
        ],
        "synthesize to a video": lambda out: _synthesize(person, model, out / "o.mp4"),
        "synthesize to a clip": lambda out: _synthesize(person, model, out / "o.clip"),
    }


def _synthesize(person: Path, model: Path, out: Path) -> list[object]:
    return ["synthesize", "--examples", person, "--driving", person, "--model", model, "--crop", "none", "--device", "cpu", "-o", out]


STAGES = [
    *("extract-sketch", "extract-poses", "segment", "build-dataset", "finetune", "predict"),
    *("synthesize to a video", "synthesize to a clip"),
]


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_a_killed_stage_writes_the_same_bytes_when_it_runs_again(stage, commands, fsv2v, content, tmp_path, request):
    if stage in ("extract-poses", "segment"):
        request.getfixturevalue("shared")  # MediaPipe's weights
    command, out, undisturbed = commands[stage], tmp_path / "out", tmp_path / "undisturbed"
    started = time.monotonic()
    done = fsv2v(*command(undisturbed))
    assert done.exit_code == 0, done.stderr
    duration = time.monotonic() - started

    draw = random.Random(stage)
    for _ in range(KILLS):
        process = fsv2v.start(*command(out))
        time.sleep(draw.uniform(0.2, 1.0) * duration)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        assert content(out).keys() <= content(undisturbed).keys(), "a file that an undisturbed run does not write"

    assert fsv2v(*command(out)).exit_code == 0
    assert content(out) == content(undisturbed)
