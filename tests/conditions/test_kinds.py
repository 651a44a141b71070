"""Driving kinds: the record of each kind, and a new kind in one file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from fsv2v.models import DEFAULT_MODELS
from fsv2v_cli.hints import COMMAND_OF_LAYER, with_hint
from stages.build_dataset import DatasetOptions, build
from stages.clip import Clip, Producer, open_clip
from stages.conditions import kinds
from stages.conditions.kinds import Kind, find_kind, open_track
from stages.conditions.view import View
from stages.errors import InputError, UsageError
from stages.models import load_model, save_model
from stages.networks.fewshot.config import PRESETS
from stages.networks.fewshot.generator import FewShotGenerator
from stages.synthesize import SynthesizeOptions, synthesize
from stages.train import Phase
from stages.train.data import Dataset
from stages.train.recipes import read_recipe

CONTRIBUTING = Path(__file__).resolve().parents[2] / "CONTRIBUTING.md"


@pytest.fixture
def sketch_kind() -> Kind:
    """The kind whose code is in CONTRIBUTING.md."""
    section = CONTRIBUTING.read_text(encoding="utf-8").split("## A driving kind")[1]
    namespace: dict[str, Any] = {}
    exec(section.split("```python\n")[1].split("```")[0], namespace)
    kind: Kind = namespace["KIND"]
    return kind


@pytest.fixture
def sketch_clip(make_painted_clip, tmp_path) -> Clip:
    """A painted face with a layer `sketch`: a white ellipse that moves to the right."""
    clip = open_clip(make_painted_clip(tmp_path / "face.clip", 0, num_frames=4))
    with clip.writing("sketch", Producer("test"), {"frames": clip.frames_digest()}) as layer:
        for index in range(clip.num_frames):
            drawing = np.zeros((clip.height, clip.width), np.uint8)
            cv2.ellipse(drawing, (clip.width // 2 + index, clip.height // 2), (10, 14), 0, 0, 360, 255, 1)
            layer.image(drawing)
    return open_clip(clip.path)


@pytest.fixture
def register_sketch(sketch_kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the kind until the test ends."""
    monkeypatch.setattr(kinds._KINDS, "_records", kinds.kinds())
    kinds.register(sketch_kind)


def test_a_new_kind_can_drive_a_model(register_sketch, sketch_clip, tmp_path):
    config = replace(PRESETS["tiny"], kind="sketch", semantic_channels=1)
    torch.manual_seed(0)
    save_model(tmp_path / "sketch.safetensors", FewShotGenerator(config).state_dict(), config, {"step": 0})
    model, track = load_model(tmp_path / "sketch.safetensors"), open_track(sketch_clip, "sketch")
    view = View.scaled(sketch_clip.height, sketch_clip.width, *config.size)
    assert track.semantic(0, view).shape == (1, *config.size) and 0 < track.semantic(0, view).mean() < 0.2

    outcome = synthesize([sketch_clip], sketch_clip, model, tmp_path / "out.clip", SynthesizeOptions(device="cpu", compare=True))
    assert (outcome.status, outcome.fitting.method, outcome.warnings) == ("done", "none", ())
    assert open_clip(tmp_path / "out.clip").frame(0).shape == (64, 192, 3)


def test_a_dataset_of_a_new_kind_gives_batches(register_sketch, sketch_clip, tmp_path):
    data = tmp_path / "drawings"
    with pytest.raises(UsageError, match="'dance' is no kind of dataset") as caught:
        DatasetOptions(kind="dance")
    assert caught.value.hint == "There are landmarks, poses, segment, sketch"
    for store in ("copy", "reference"):
        options = DatasetOptions(size=64, min_frames=4, store=store, kind="sketch")
        (report,) = build([str(sketch_clip.path)], data / store, options)
        assert (report.status, report.frames) == ("done", 4)
    header = json.loads((data / "copy" / "dataset.json").read_text())
    assert (header["kind"], header["task"]) == ("sketch", "drawing")

    list(build([str(sketch_clip.path)], data / "halved", DatasetOptions(size=32, min_frames=4, kind="sketch")))
    original, halved = sketch_clip.layer("sketch").image(3), open_clip(data / "halved" / "clips" / "face.clip").layer("sketch").image(3)
    assert original.shape == (64, 64) and halved.shape == (32, 32) and set(np.unique(halved)) == {0, 255}, "not interpolated"
    assert np.argwhere(halved).mean(0) == pytest.approx((np.argwhere(original).mean(0) + 0.5) / 2 - 0.5, abs=0.3)

    recipe = read_recipe("tiny")
    recipe = replace(recipe, generator=replace(recipe.generator, kind="sketch", semantic_channels=1), jitter=0.0)
    batches = [Dataset(data / store, "sketch", "train").batch(recipe, 0, Phase(1, batch=1)) for store in ("copy", "reference")]
    one, other = (batch.frame(0).semantic for batch in batches)
    assert one.shape == (1, 1, 64, 64) and one.max() > 0.5 and (one - other).abs().mean() < 0.02


def test_a_missing_layer_is_named_with_the_command_that_makes_it(sketch_kind, make_painted_clip, tmp_path, monkeypatch):
    monkeypatch.setattr(kinds._KINDS, "_records", {**kinds.kinds(), "sketch": sketch_kind})
    clip = open_clip(make_painted_clip(tmp_path / "face.clip", 0, num_frames=2))
    with pytest.raises(InputError, match="no layer 'sketch'") as caught:
        open_track(clip, "sketch")
    assert "`fsv2v extract-sketch " in with_hint(str(caught.value))


def test_an_unknown_kind_is_refused_with_a_list_of_the_known_ones():
    with pytest.raises(UsageError, match="'dance' is no driving kind") as caught:
        find_kind("dance")
    assert "landmarks+iris" in caught.value.hint


@pytest.mark.parametrize("name", sorted(kinds.kinds()))
def test_the_record_of_each_kind_agrees_with_its_track(name):
    kind = find_kind(name)
    assert kind.layer == kind.layers[0] and set(kind.layers) <= {*COMMAND_OF_LAYER, *kind.remedies}
    semantic = torch.rand(2, kind.channels or 5, 8, 8).softmax(1)
    drawing = kind.draw(semantic)
    assert drawing.shape == (2, 3, 8, 8) and drawing.abs().max() <= 1
    assert all(text[0].isupper() for text in kind.remedies.values()), "each is a sentence of its own"
    assert (kind.default_model == "") or DEFAULT_MODELS[kind.layer] == kind.default_model
