"""Training the predictor of label maps: losses, validation metrics, exact resume, learning."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stages.clip import open_clip
from stages.errors import UsageError
from stages.models import load_model
from stages.networks.common.generator import Synthesis
from stages.networks.families import build
from stages.networks.future import PRESETS
from stages.train import LoggingSettings, Phase, TrainConfig, TrainOptions, read_recipe, train
from stages.train.data import Dataset
from stages.train.validation import SCORED_FRAMES, Validation

RECIPE = replace(
    read_recipe("future-street-small"),
    generator=PRESETS["tiny-future"],
    phases=(
        Phase(3, batch=2, frames=2, adversarial=False),
        Phase(3, batch=2, frames=2, rollout=3, scale=2.0, adversarial=False),
    ),
)


def train_options(data: Path) -> TrainOptions:
    return TrainOptions(data, "cpu", LoggingSettings(1, 0))


def read_log(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "log.ndjson").read_text().splitlines()]


@pytest.fixture(scope="module")
def run(drift_dataset, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("future") / "run"
    train(RECIPE, train_options(drift_dataset), out)
    return out


def test_the_log_has_the_losses_and_validation_metrics_of_label_maps(run):
    terms = [row for row in read_log(run) if "labels" in row]
    assert [row["size"] for row in terms] == [32] * 3 + [64] * 3
    assert {"labels", "raw", "warp", "flow", "mask"} <= terms[-1].keys() and not {"l1", "gan", "perceptual"} & terms[-1].keys()
    validations = [row["validation"] for row in read_log(run) if "validation" in row]
    assert len(validations) == 3 and validations[0].keys() == {"accuracy", "miou", "repeat_accuracy", "repeat_miou"}
    assert (run / "samples" / "00000006.png").exists()


def test_the_model_knows_the_names_of_the_labels(run):
    assert load_model(run).config == PRESETS["tiny-future"].for_labels(("ground", "square", "disc"))


@pytest.mark.parametrize("stopped_at", [2, 5])
def test_a_stopped_run_resumes_exactly(run, stopped_at, drift_dataset, tmp_path):
    def stop(row):
        if row.get("step") == stopped_at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(RECIPE, train_options(drift_dataset), tmp_path / "run", event=stop)
    train(RECIPE, train_options(drift_dataset), tmp_path / "run")
    assert read_log(tmp_path / "run") == read_log(run)


def test_windows_begin_with_observed_maps_and_gradients_pass_through_one_hot_maps(drift_dataset):
    """The second predicted map depends on the first only through the one-hot past."""
    config = replace(RECIPE, generator=PRESETS["tiny-future"])
    batch = Dataset(drift_dataset, "segment", "train").batch(config, 0, Phase(1, batch=1, frames=2))
    assert batch.real_frames == 2 and batch.num_frames == 4 and torch.equal(batch.frames.required_image, batch.frames.semantic)
    generator, past = build(config.generator), None
    for t in range(2):
        frame = batch.frame(t)
        past = generator.remember(frame, Synthesis(frame.semantic, frame.semantic), past)
    first = generator.synthesize(None, batch.frame(2), past)
    past = generator.remember(batch.frame(2), first, past)
    assert set(past.semantic.unique().tolist()) == {0.0, 1.0}
    second = generator.synthesize(None, batch.frame(3), past)
    (gradient,) = torch.autograd.grad(second.frame[:, 1].sum(), first.frame)
    assert gradient.any()


def test_validation_metrics_equal_those_computed_with_numpy(drift_dataset):
    """The metrics of a generator that repeats the last observed map equal `repeat_*`, and those computed with numpy."""
    config = replace(RECIPE, phases=(Phase(1, batch=1, frames=3, adversarial=False),))
    data = Dataset(drift_dataset, "segment", "val")
    validation = Validation(data, config, torch.device("cpu"), None)
    repeating: Any = RepeatingGenerator()
    values = validation(repeating, False)
    assert values["miou"] == values["repeat_miou"] and values["accuracy"] == values["repeat_accuracy"]

    pairs = []
    for window in validation.windows:
        ids = window.frames.required_image[0].argmax(1).numpy()
        assert len(ids) == 2 + 3
        pairs += [(ids[1], ids[t]) for t in range(5 - SCORED_FRAMES, 5)]
    predicted, truth = (np.stack(maps) for maps in zip(*pairs, strict=True))
    ious = [((predicted == label) & (truth == label)).sum() / ((predicted == label) | (truth == label)).sum() for label in range(3)]
    assert values["miou"] == pytest.approx(np.mean(ious), abs=1e-5)
    assert values["accuracy"] == pytest.approx((predicted == truth).mean(), abs=1e-5)


class RepeatingGenerator:
    """A generator that repeats the last map."""

    def encode_examples(self, examples):
        return None

    def remember(self, driving, output, past):
        return replace(driving, image=output.frame)

    def step(self, code, driving, past):
        return past.image, past


def test_the_predictor_learns_motion(drift_dataset, tmp_path):
    """After 60 steps, predictions three frames ahead for held-out clips are better than the last observed map."""
    phases = (Phase(60, batch=2, frames=3, adversarial=False),)
    config = replace(RECIPE, generator=replace(PRESETS["tiny-future"], filters=12), learning_rate=2e-3, ema=0.95, jitter=0.0, phases=phases)
    train(config, TrainOptions(drift_dataset, "cpu", LoggingSettings(20, 999)), tmp_path / "run")
    last = [row["validation"] for row in read_log(tmp_path / "run") if "validation" in row][-1]
    assert last["miou"] > last["repeat_miou"] + 0.05


def test_phases_with_discriminators_are_refused(tmp_path):
    (tmp_path / "mine.toml").write_text('base = "future-street-small"\n[[phases]]\nsteps = 3\nframes = 2\n')
    with pytest.raises(UsageError, match="adversarial = false"):
        read_recipe(str(tmp_path / "mine.toml"))


@pytest.mark.parametrize("preset", ["future-street", "future-street-small"])
def test_the_recipes_begin_with_observed_maps_and_are_stored_completely(preset):
    config = read_recipe(preset)
    assert TrainConfig.from_json(json.loads(json.dumps(config.to_json()))) == config
    assert config.real_past == 1 and config.generator.makes_labels and config.perceptual == "none"
    assert config.max_generated_frames > 10 and all(phase.has_past for phase in config.phases)


def test_the_disc_of_the_drift_fixture_moves_by_one_pixel_along_each_axis(make_drift_clip, tmp_path):
    clip = open_clip(make_drift_clip(tmp_path / "drift.clip", 3))
    corners = [np.argwhere(clip.layer("instances").image(index) == 2).max(0) for index in (3, 4)]
    assert np.abs(corners[1] - corners[0]).tolist() == [1, 1]
