"""Driving kinds: one record each, and a new one is a file."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from fsv2v.models import DEFAULT_MODELS
from stages.clip import Clip, Producer, open_clip
from stages.conditions import kinds
from stages.conditions.kinds import Kind, find, open_track
from stages.conditions.kinds.kind import grey
from stages.conditions.tracks import DetectorNoise, Track
from stages.conditions.view import View
from stages.errors import InputError, UsageError
from stages.models import load_model, save_model
from stages.networks.fewshot import PRESETS, FewShotGenerator
from stages.synthesize import SynthesizeOptions, synthesize


class SketchTrack(Track):
    """A drawn sketch, white lines on black, drives as it is: for people who draw their own."""

    channels = 1

    def __init__(self, clip: Clip) -> None:
        self.layer = clip.layer("sketch")
        self.num_frames = clip.num_frames

    def semantic(self, index: int, view: View, noise: DetectorNoise | None = None) -> np.ndarray:
        return view.image(self.layer.image(index), cv2.INTER_LINEAR)[None].astype(np.float32) / 255

    def keypoints(self, index: int, view: View, noise: DetectorNoise | None = None) -> np.ndarray:
        return np.zeros((0, 3), np.float32)

    def picture(self, index: int, view: View) -> np.ndarray:
        return np.repeat(view.image(self.layer.image(index), cv2.INTER_LINEAR)[..., None], 3, -1)


SKETCH = Kind(
    name="sketch",
    layers=("sketch",),
    open=SketchTrack,
    place=lambda keypoints, semantic: semantic.mean((1, 2), dtype=np.float64),
    draw=grey,
    channels=SketchTrack.channels,
    remedies={"sketch": "make it with `fsv2v extract-sketch {}`"},
)


@pytest.fixture
def sketched(make_painted_clip, tmp_path) -> Clip:
    """A painted face with a layer `sketch`: a white ellipse that moves."""
    clip = open_clip(make_painted_clip(tmp_path / "anna.clip", 0, num_frames=4))
    with clip.writing("sketch", Producer("test"), {"frames": clip.frames_digest()}) as layer:
        for index in range(clip.num_frames):
            drawn = np.zeros((clip.height, clip.width), np.uint8)
            cv2.ellipse(drawn, (clip.width // 2 + index, clip.height // 2), (10, 14), 0, 0, 360, 255, 1)
            layer.image(drawn)
    return open_clip(clip.path)


def test_a_new_kind_is_one_record(sketched, tmp_path, monkeypatch):
    monkeypatch.setattr(kinds, "_KINDS", dict(kinds._KINDS))
    kinds.register(SKETCH)
    config = replace(PRESETS["tiny"], kind="sketch", semantic_channels=1)
    torch.manual_seed(0)
    save_model(tmp_path / "sketch.safetensors", FewShotGenerator(config).state_dict(), config, {"step": 0})
    model, track = load_model(tmp_path / "sketch.safetensors"), open_track(sketched, "sketch")
    view = View.scaled(sketched.height, sketched.width, *config.size)
    assert track.semantic(0, view).shape == (1, *config.size) and 0 < track.semantic(0, view).mean() < 0.2

    outcome = synthesize([sketched], sketched, model, tmp_path / "out.clip", SynthesizeOptions(device="cpu", compare=True))
    assert (outcome.status, outcome.fitting.how, outcome.warnings) == ("done", "none", ())
    assert open_clip(tmp_path / "out.clip").frame(0).shape == (64, 192, 3)


def test_a_layer_that_is_missing_is_named_with_its_remedy(make_painted_clip, tmp_path, monkeypatch):
    monkeypatch.setattr(kinds, "_KINDS", {**kinds._KINDS, "sketch": SKETCH})
    clip = open_clip(make_painted_clip(tmp_path / "anna.clip", 0, num_frames=2))
    with pytest.raises(InputError, match="no layer 'sketch'") as caught:
        open_track(clip, "sketch")
    assert "fsv2v extract-sketch" in caught.value.hint


def test_a_kind_that_is_not_known_is_refused_with_those_that_are():
    with pytest.raises(UsageError, match="'dance' is no driving kind") as caught:
        find("dance")
    assert "landmarks+iris" in caught.value.hint


@pytest.mark.parametrize("name", sorted(kinds.kinds()))
def test_the_record_of_each_kind_agrees_with_its_track(name):
    kind = find(name)
    assert kind.layer == kind.layers[0] and set(kind.remedies or ()) == set(kind.layers)
    semantic = torch.rand(2, kind.channels or 5, 8, 8).softmax(1)
    drawn = kind.draw(semantic)
    assert drawn.shape == (2, 3, 8, 8) and drawn.abs().max() <= 1
    assert (kind.default_model == "") or DEFAULT_MODELS[kind.layer] == kind.default_model
