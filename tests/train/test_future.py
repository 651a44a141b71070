"""The predictor of label maps through `train`: its terms and figures, what it learns, exact resume."""

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


def quick(data: Path) -> TrainOptions:
    return TrainOptions(data, "cpu", LoggingSettings(1, 0))


def rows(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "log.ndjson").read_text().splitlines()]


@pytest.fixture(scope="module")
def run(drift_dataset, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("future") / "run"
    train(RECIPE, quick(drift_dataset), out)
    return out


def test_it_is_trained_by_the_same_command_with_its_own_terms_and_figures(run):
    terms = [row for row in rows(run) if "labels" in row]
    assert [row["size"] for row in terms] == [32] * 3 + [64] * 3
    assert {"labels", "raw", "warp", "flow", "mask"} <= terms[-1].keys() and not {"l1", "gan", "perceptual"} & terms[-1].keys()
    judged = [row["validation"] for row in rows(run) if "validation" in row]
    assert len(judged) == 3 and judged[0].keys() == {"accuracy", "miou", "repeat_accuracy", "repeat_miou"}
    assert (run / "samples" / "00000006.png").exists()


def test_the_model_knows_the_names_of_the_labels(run):
    assert load_model(run).config == PRESETS["tiny-future"].for_labels(("ground", "square", "disc"))


@pytest.mark.parametrize("stopped_at", [2, 5])
def test_it_goes_on_exactly(run, stopped_at, drift_dataset, tmp_path):
    def stop(row):
        if row.get("step") == stopped_at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(RECIPE, quick(drift_dataset), tmp_path / "run", event=stop)
    train(RECIPE, quick(drift_dataset), tmp_path / "run")
    assert rows(tmp_path / "run") == rows(run)


def test_windows_continue_observed_maps_and_gradients_pass_through_crisp_ones(drift_dataset):
    """Two frames back the only way is through the past, which is one-hot."""
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


def test_validation_counts_pixels_as_numpy_does(drift_dataset):
    """A generator that repeats the last observed map: its figures are those of `repeat_*`, and of a count of the pixels."""
    config = replace(RECIPE, phases=(Phase(1, batch=1, frames=3, adversarial=False),))
    data = Dataset(drift_dataset, "segment", "val")
    judge = Validation(data, config, torch.device("cpu"), None)
    still: Any = _Still()
    figures = judge(still, False)
    assert figures["miou"] == figures["repeat_miou"] and figures["accuracy"] == figures["repeat_accuracy"]

    pairs = []
    for window in judge.windows:
        ids = window.frames.semantic[0].argmax(1).numpy()
        assert len(ids) == 2 + 3
        pairs += [(ids[1], ids[t]) for t in range(5 - SCORED_FRAMES, 5)]
    made, truth = (np.stack(maps) for maps in zip(*pairs, strict=True))
    shares = [((made == label) & (truth == label)).sum() / ((made == label) | (truth == label)).sum() for label in range(3)]
    assert figures["miou"] == pytest.approx(np.mean(shares), abs=1e-5)
    assert figures["accuracy"] == pytest.approx((made == truth).mean(), abs=1e-5)


class _Still:
    """Keeps what it was shown."""

    def encode_examples(self, examples):
        return None

    def remember(self, driving, made, past):
        return replace(driving, image=made.frame)

    def step(self, code, driving, past):
        return past.image, past


def test_it_learns_to_move_things(drift_dataset, tmp_path):
    """After some seconds of training the maps of held-out drifts three frames ahead are better than the last observed one."""
    phases = (Phase(60, batch=2, frames=3, adversarial=False),)
    config = replace(RECIPE, generator=replace(PRESETS["tiny-future"], filters=12), learning_rate=2e-3, ema=0.95, jitter=0.0, phases=phases)
    train(config, TrainOptions(drift_dataset, "cpu", LoggingSettings(20, 999)), tmp_path / "run")
    last = [row["validation"] for row in rows(tmp_path / "run") if "validation" in row][-1]
    assert last["miou"] > last["repeat_miou"] + 0.05


def test_no_discriminator_judges_label_maps(tmp_path):
    (tmp_path / "mine.toml").write_text('base = "future-street-small"\n[[phases]]\nsteps = 3\nframes = 2\n')
    with pytest.raises(UsageError, match="adversarial = false"):
        read_recipe(str(tmp_path / "mine.toml"))


@pytest.mark.parametrize("preset", ["future-street", "future-street-small"])
def test_its_recipes_continue_observed_maps_and_are_stored_whole(preset):
    config = read_recipe(preset)
    assert TrainConfig.from_json(json.loads(json.dumps(config.to_json()))) == config
    assert config.real_past == 1 and config.generator.makes_labels and config.perceptual == "none"
    assert config.longest > 10 and all(phase.has_past for phase in config.phases)


def test_a_drift_is_what_its_fixture_says(make_drift_clip, tmp_path):
    """The disc, which hides the square, moves by one pixel along each axis in each frame."""
    clip = open_clip(make_drift_clip(tmp_path / "drift.clip", 3))
    ends = [np.argwhere(clip.layer("instances").image(index) == 2).max(0) for index in (3, 4)]
    assert np.abs(ends[1] - ends[0]).tolist() == [1, 1]
