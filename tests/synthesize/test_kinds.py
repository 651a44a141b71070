"""Faces, bodies and streets: the driving layer determines the model, and a missing layer is extracted."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from fsv2v.models import DEFAULT_MODELS, default_model
from stages.clip import Producer, create_clip, open_clip
from stages.conditions.kinds import find_kind
from stages.models import load_model, save_model
from stages.networks.fewshot.config import PRESETS
from stages.networks.fewshot.generator import FewShotGenerator
from weights import registry


@pytest.mark.parametrize("kind", sorted(DEFAULT_MODELS))
def test_a_model_is_shipped_for_each_kind(kind):
    path = registry.path(DEFAULT_MODELS[kind])
    assert find_kind(load_model(path).config.kind).layer == kind
    assert path.stat().st_size < 40e6


def test_the_driving_layer_determines_the_model(tmp_path):
    frames = [np.zeros((64, 32, 3), np.uint8)] * 2
    clip = create_clip(tmp_path / "dance.clip", iter(frames))
    with clip.writing("poses", Producer("test"), {"frames": clip.frames_digest()}) as layer:
        boxes, identities = np.zeros((2, 1, 4), np.float32), np.zeros((2, 1), np.int32)
        layer.arrays(keypoints=np.ones((2, 1, 25, 3), np.float32), boxes=boxes, track_id=identities)
    assert default_model(open_clip(clip.path)).config.kind == "poses"


def test_missing_label_maps_of_a_street_are_extracted(tmp_path, make_tiny_video, fsv2v):
    torch.manual_seed(0)
    config = replace(PRESETS["tiny"], kind="segment", semantic_channels=11)
    save_model(tmp_path / "street.safetensors", FewShotGenerator(config).state_dict(), config, {"step": 0})
    video = make_tiny_video(tmp_path / "drive.mp4")
    command = ("--examples", video, "--driving", video, "--model", tmp_path / "street.safetensors")
    done = fsv2v("synthesize", *command, "-o", tmp_path / "out.mp4", "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["frames"] == 5
    assert "extracting segment" in done.stderr


def test_label_maps_with_another_number_of_labels_are_refused(tmp_path, make_tiny_video, fsv2v):
    config = replace(PRESETS["tiny"], kind="segment", semantic_channels=19)
    save_model(tmp_path / "street.safetensors", FewShotGenerator(config).state_dict(), config, {"step": 0})
    video = make_tiny_video(tmp_path / "drive.mp4")
    command = ("--examples", video, "--driving", video, "--model", tmp_path / "street.safetensors")
    done = fsv2v("synthesize", *command, "-o", tmp_path / "out.mp4")
    assert done.exit_code == 2 and "have 11 channels, the model expects 19" in done.stderr
