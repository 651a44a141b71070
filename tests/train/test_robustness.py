"""A run survives divergence, infinite gradients and a full disk, keeps to a time budget, and can start from a model."""

from __future__ import annotations

import json
import math
import resource
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from stages.errors import Fsv2vError, InputError, ParametersDiffer, UsageError
from stages.networks.fewshot.config import FewShotConfig
from stages.networks.fewshot.generator import FewShotGenerator
from stages.train import LoggingSettings, Phase, TrainOptions, read_recipe, train
from stages.train.budget import plan
from stages.train.guard import MAX_BAD_STEPS, MAX_RETURNS, RATE_FACTOR, Guard
from stages.train.state import RunFolder
from stages.train.trainer import Trainer

STEPS = 20
TINY = replace(read_recipe("tiny"), perceptual="none", phases=(Phase(STEPS, batch=2, adversarial=False),))


def read_log(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "log.ndjson").read_text().splitlines()]


def options(data: Path) -> TrainOptions:
    return TrainOptions(data, device="cpu", logging=LoggingSettings(log_every=5))


class TestTheGuard:
    """Its errors are relative to the error of a grey image."""

    def test_does_not_stop_a_run_that_learns(self):
        guard = Guard()
        assert not any(guard.check_step(0.2 + 0.6 / (1 + step), 0.0, True) for step in range(300))

    def test_notices_frames_that_become_much_worse(self):
        guard = Guard()
        reasons = [guard.check_step(0.2 if step < 100 else 0.9, 0.0, True) for step in range(130)]
        first = next(step for step, reason in enumerate(reasons) if reason)
        assert 100 < first < 120 and "times as wrong as before" in reasons[first]

    def test_notices_frames_that_become_worse_than_a_grey_image_at_the_start(self):
        guard = Guard()
        assert "as a grey image" in [guard.check_step(1.0 if step == 0 else 2.0, 0.0, True) for step in range(10)][-1]

    def test_gives_a_network_that_begins_worse_than_a_grey_image_some_steps_to_learn(self):
        guard = Guard()
        assert not any(guard.check_step(0.3 + 1.5 / (1 + step / 20), 0.0, True) for step in range(300))

    def test_notices_frames_that_stay_worse_than_a_grey_image(self):
        guard = Guard()
        reasons = [guard.check_step(2.0, 0.0, True) for _ in range(60)]
        assert not any(reasons[:50]) and "as a grey image" in reasons[-1]

    def test_notices_saturated_frames(self):
        guard = Guard()
        assert "black or white" in [guard.check_step(0.5, 0.97, True) for _ in range(10)][-1]

    def test_ignores_a_single_bad_batch(self):
        guard = Guard()
        assert not any(guard.check_step(3.0 if step == 50 else 0.2, 0.0, step != 70) for step in range(100))

    def test_notices_gradients_that_are_not_finite_for_many_steps(self):
        guard = Guard()
        reasons = [guard.check_step(float("nan"), 0.0, False) for _ in range(MAX_BAD_STEPS + 1)]
        assert reasons[-1].startswith("gradients were not finite") and not any(reasons[:-1])

    def test_lowers_the_learning_rate_at_each_return_and_gives_up_in_the_end(self):
        guard = Guard()
        for _ in range(MAX_RETURNS):
            guard = guard.after_return("frames are black", 30, 10)
        assert guard.rate == RATE_FACTOR**MAX_RETURNS and len(guard.history) == MAX_RETURNS
        with pytest.raises(Fsv2vError, match="does not converge: at step 30 frames are black, after going back 8 times"):
            guard.after_return("frames are black", 30, 10)


def test_a_learning_rate_that_is_1000_times_too_high_is_lowered_until_the_run_learns(painted_dataset, tmp_path):
    events: list[dict[str, Any]] = []
    train(replace(TINY, learning_rate=0.4), options(painted_dataset), tmp_path / "run", event=events.append)
    returns = [row for row in read_log(tmp_path / "run") if "went_back_from" in row]
    assert len(returns) >= 2 and returns[-1]["rate"] < 0.1
    assert any("going back to step 0" in row.get("message", "") for row in events)
    last = read_log(tmp_path / "run")[-1]
    assert last["validation"]["psnr"] > 8  # uniform frames have about 5


def test_a_run_that_went_back_is_resumed_exactly(painted_dataset, tmp_path):
    class Stop(Exception):
        pass

    def stop_at_15(row):
        if row.get("step") == 15 and "l1" in row:
            raise Stop

    diverging = replace(TINY, learning_rate=0.4)
    train(diverging, options(painted_dataset), tmp_path / "uninterrupted")
    with pytest.raises(Stop):
        train(diverging, replace(options(painted_dataset), logging=LoggingSettings(5, 0.0)), tmp_path / "stopped", event=stop_at_15)
    train(diverging, options(painted_dataset), tmp_path / "stopped")
    assert read_log(tmp_path / "stopped") == read_log(tmp_path / "uninterrupted")


def test_a_step_with_nan_is_skipped_and_counted(painted_dataset, tmp_path, monkeypatch):
    synthesize = FewShotGenerator.synthesize
    with_gradient = []

    def synthesize_with_one_nan(self, code, driving, past=None):
        """The third frame with gradients is NaN; frames of validation and samples have no gradients."""
        with_gradient.append(torch.is_grad_enabled())
        factor = float("nan") if with_gradient[-1] and sum(with_gradient) == 3 else 1
        return synthesize(self, code, replace(driving, semantic=driving.semantic * factor), past)

    monkeypatch.setattr(FewShotGenerator, "synthesize", synthesize_with_one_nan)
    train(TINY, options(painted_dataset), tmp_path / "run")
    log = read_log(tmp_path / "run")
    assert sum(row.get("left_out", 0) for row in log) == 1
    assert not any("went_back_from" in row for row in log)
    assert all(math.isfinite(value) for row in log for value in row.values() if isinstance(value, float))
    assert log[-1]["validation"]["psnr"] > 8


@pytest.fixture
def limit_file_size():
    """limit_file_size(bytes): larger files cannot be written until the test ends, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[0][1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before[0])
    signal.signal(signal.SIGXFSZ, before[1])


def test_a_run_continues_when_the_disk_is_full_for_a_while(painted_dataset, tmp_path, limit_file_size):
    events, run = [], tmp_path / "run"

    def event(row):
        events.append(row)
        if "l1" in row and row["step"] == 5:
            limit_file_size(4096)
        if "l1" in row and row["step"] == 15:
            limit_file_size(resource.RLIM_INFINITY)

    logging = LoggingSettings(log_every=5, save_seconds=0.0)
    train(TINY, replace(options(painted_dataset), logging=logging), run, event=event)
    messages = [row["message"] for row in events if "message" in row]
    assert any("state-" in message and "Training goes on" in message for message in messages)
    assert [row["step"] for row in read_log(run) if "l1" in row] == list(range(5, STEPS + 1, 5))
    state = RunFolder(run).latest_state()
    assert state is not None and state["step"] == STEPS


def test_a_run_that_cannot_start_on_a_full_disk_can_be_started_again(painted_dataset, tmp_path, limit_file_size):
    limit_file_size(20_000)
    with pytest.raises(InputError, match="00000000"):
        train(TINY, options(painted_dataset), tmp_path / "run")
    limit_file_size(resource.RLIM_INFINITY)
    train(TINY, options(painted_dataset), tmp_path / "run")
    state = RunFolder(tmp_path / "run").latest_state()
    assert state is not None and state["step"] == STEPS


def test_a_disk_that_is_full_for_a_while_changes_no_row_of_the_log(painted_dataset, tmp_path, limit_file_size):
    train(TINY, options(painted_dataset), tmp_path / "plain")

    def event(row):
        if "l1" in row:
            limit_file_size(4096 if row["step"] == 10 else resource.RLIM_INFINITY)

    train(TINY, options(painted_dataset), tmp_path / "run", event=event)
    assert read_log(tmp_path / "run") == read_log(tmp_path / "plain")


class TestBudgets:
    CONFIG = replace(TINY, phases=(Phase(600), Phase(100, frames=2), Phase(10, frames=4)))

    def test_the_time_of_all_phases_is_shortened_in_proportion(self):
        planned = plan(self.CONFIG, 1000.0, [1.0, 4.0, 10.0], per_milestone=2.0)
        assert [phase.steps for phase in planned.phases] == [500, 83, 8]  # 600 + 400 + 100 s are shortened to 950 - 16 * 2 s
        assert planned.steps < self.CONFIG.steps

    def test_too_short_a_time_is_an_error(self):
        with pytest.raises(UsageError, match="12 seconds are not enough"):
            plan(self.CONFIG, 12.0, [1.0, 4.0, 10.0], per_milestone=2.0)

    def test_a_run_keeps_the_schedule_that_was_planned_for_it(self, painted_dataset, tmp_path):
        config = replace(TINY, budget=60.0, phases=(Phase(60, batch=2, adversarial=False), Phase(20, batch=2, frames=2, adversarial=False)))
        train(config, options(painted_dataset), tmp_path / "run")
        planned = json.loads((tmp_path / "run" / "config.json").read_text())["config"]
        events: list[dict[str, Any]] = []
        train(config, options(painted_dataset), tmp_path / "run", event=events.append)
        assert events == [] and read_log(tmp_path / "run")[-1]["step"] == sum(phase["steps"] for phase in planned["phases"])
        with pytest.raises(ParametersDiffer, match="phases"):
            train(replace(config, phases=config.phases[:1]), options(painted_dataset), tmp_path / "run")


class TestStartingFromAModel:
    def test_loads_its_weights(self, painted_dataset, tmp_path):
        train(TINY, options(painted_dataset), tmp_path / "first")
        short = replace(TINY, phases=(Phase(1, batch=2, adversarial=False),))
        events: list[dict[str, Any]] = []
        train(short, replace(options(painted_dataset), start=tmp_path / "first"), tmp_path / "second", event=events.append)
        last, first = read_log(tmp_path / "first")[-1], read_log(tmp_path / "second")[0]
        assert first["validation"]["psnr"] == pytest.approx(last["validation"]["psnr"], abs=0.1)
        assert any("tensors are those of" in row.get("message", "") for row in events)

    def test_skips_the_phases_at_a_smaller_size(self):
        recipe = read_recipe("face-256")
        assert [phase.scale for phase in recipe.phases][:2] == [0.5, 1.0]
        shortened = recipe.without_small_phases()
        assert shortened.phases == recipe.phases[1:] and shortened.without_small_phases() == shortened

    def test_of_another_kind_loads_the_tensors_that_fit(self):
        face = Trainer(TINY, torch.device("cpu"), None)
        body = Trainer(replace(TINY, generator=replace(TINY.generator, kind="poses", semantic_channels=3)), torch.device("cpu"), None)
        loaded, total = body.initialise_from(face.generator.state_dict())
        assert 0.8 * total < loaded < total
        expected, actual = (trainer.generator.get_parameter("to_image.weight") for trainer in (face, body))
        assert torch.equal(actual, expected)


def test_the_flow_network_for_the_previous_frame_starts_from_the_one_for_the_examples(painted_dataset, tmp_path):
    assert isinstance(TINY.generator, FewShotConfig)
    separate = replace(TINY.generator, flow_shared=False)
    phases = (Phase(1, batch=2, adversarial=False), Phase(1, batch=2, frames=2))
    config = replace(TINY, generator=separate, learning_rate=1e-12, phases=phases)
    train(config, options(painted_dataset), tmp_path / "run")
    state = RunFolder(tmp_path / "run").latest_state()
    assert state is not None
    weights = state["generator"]
    pairs = [(value, weights[f"example_{name}"]) for name, value in weights.items() if name.startswith("flow.")]
    assert pairs and all(torch.allclose(past, example, atol=1e-6) for past, example in pairs)


def test_the_log_is_also_written_for_tensorboard(painted_dataset, tmp_path):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    train(TINY, replace(options(painted_dataset), board=True), tmp_path / "run")
    board = events.EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    l1 = {event.step: event.value for event in board.Scalars("train/l1")}
    assert l1 == pytest.approx({row["step"]: row["l1"] for row in read_log(tmp_path / "run") if "l1" in row}, rel=1e-5)
    assert [event.step for event in board.Scalars("validation/psnr")] == [0, STEPS]
