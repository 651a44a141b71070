"""Training: the files of a run, exact resume after a kill, rollouts, motion-only phases, and batches that depend on seed and step."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stages.errors import InputError, ParametersDiffer, UsageError
from stages.flow.teacher import Teacher, choose_teacher
from stages.flow.warp import warp
from stages.models import load_model
from stages.networks.common.generator import Synthesis
from stages.networks.common.objective import DiscriminatorConfig
from stages.networks.fewshot.config import PRESETS, FewShotConfig
from stages.train import LoggingSettings, Phase, TrainConfig, TrainOptions, read_recipe, train
from stages.train.data import Dataset, draw_window
from stages.train.state import RunFolder
from stages.train.trainer import Trainer

KILLS = int(os.environ.get("FSV2V_KILLS", "2"))
"""How often test_kill_9_at_random_moments_changes_no_loss kills the training."""
TINY = replace(read_recipe("tiny"), perceptual="none")


def read_log(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "log.ndjson").read_text().splitlines()]


def loss_rows(run: Path) -> list[dict]:
    """The rows of the log with losses."""
    return [row for row in read_log(run) if "l1" in row]


def train_options(data: Path, save_seconds: float = 0.0) -> TrainOptions:
    return TrainOptions(data, device="cpu", logging=LoggingSettings(1, save_seconds))


@pytest.fixture(scope="module")
def uninterrupted_run(painted_dataset, tmp_path_factory) -> Path:
    """A run of the tiny recipe without an interruption."""
    out = tmp_path_factory.mktemp("uninterrupted") / "run"
    train(TINY, train_options(painted_dataset, 1000), out)
    return out


def test_a_run_leaves_its_configuration_log_samples_snapshot_and_state(uninterrupted_run):
    config = json.loads((uninterrupted_run / "config.json").read_text())["config"]
    assert TrainConfig.from_json(config) == TINY
    assert [row["step"] for row in loss_rows(uninterrupted_run)] == list(range(1, 11))
    assert [row["frames"] for row in loss_rows(uninterrupted_run)] == [1] * 6 + [2] * 4
    assert {"l1", "gan", "feature_matching", "video_gan", "flow", "discriminator"} <= loss_rows(uninterrupted_run)[-1].keys()
    validations = [row for row in read_log(uninterrupted_run) if "validation" in row]
    assert [row["step"] for row in validations] == [0, 6, 10]  # at the start, before windows become longer, at the end
    assert {"psnr", "ssim", "repeat_psnr", "repeat_ssim"} <= validations[-1]["validation"].keys()
    assert (uninterrupted_run / "samples" / "00000010.png").stat().st_size > 1000
    assert (uninterrupted_run / "state-00000010.pt").exists()
    assert load_model(uninterrupted_run).info["step"] == 10


@pytest.mark.parametrize("preset", ["paper", "paper-pose"])
def test_the_papers_recipes_can_be_stored_and_shortened(preset):
    recipe = read_recipe(preset)
    assert TrainConfig.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe
    assert [phase.frames for phase in recipe.with_steps(100).phases] == [1, 2, 4, 8, 16]  # they double, as in section 3


def test_the_papers_networks_can_be_trained_with_video_and_region_discriminators(painted_dataset, tmp_path):
    eyes, mouth = tuple(range(36, 48)), tuple(range(48, 68))
    discriminators = DiscriminatorConfig(filters=8, scales=2, gan="lsgan", video_frames=2, video_rates=2, regions=(eyes, mouth))
    config = replace(TINY, generator=PRESETS["tiny-paper"], phases=(Phase(2, batch=2, frames=3),), discriminators=discriminators)
    train(config, train_options(painted_dataset), tmp_path / "run")
    rows = loss_rows(tmp_path / "run")
    assert {"gan", "feature_matching", "video_gan", "region_gan", "flow", "warp", "discriminator"} <= rows[-1].keys()
    assert all(np.isfinite(value) for value in rows[-1].values())
    assert load_model(tmp_path / "run").config == PRESETS["tiny-paper"]


@pytest.mark.parametrize(
    "change", [{"warp_example": False, "combine": "matting"}, {"method": "adain"}, {"attention": "compact", "bases": 16}, {"norm": "batch"}]
)
def test_every_variant_can_be_trained(change, painted_dataset, tmp_path):
    generator = replace(PRESETS["tiny"], **change)
    train(replace(TINY, generator=generator, phases=(Phase(1, batch=2, frames=2),)), train_options(painted_dataset), tmp_path / "run")
    assert (tmp_path / "run" / "samples" / "00000001.png").exists()
    assert load_model(tmp_path / "run").config == generator


def test_frames_of_a_rollout_have_no_gradients_and_precede_the_window(painted_dataset, monkeypatch):
    config = replace(TINY, phases=(Phase(3, batch=2, frames=2, rollout=5),))
    data = Dataset(painted_dataset, "landmarks", "train")
    lengths = [data.batch(config, step, config.phases[0]).num_frames for step in range(12)]
    assert set(lengths) <= set(range(2, 8)) and len(set(lengths)) > 2
    step = next(step for step, length in enumerate(lengths) if length > 4)

    trainer = Trainer(config, torch.device("cpu"), None)
    with_gradient: list[bool] = []
    synthesize = trainer.generator.synthesize

    def record_gradient(*arguments: Any) -> Synthesis:
        with_gradient.append(torch.is_grad_enabled())
        return synthesize(*arguments)

    monkeypatch.setattr(trainer.generator, "synthesize", record_gradient)
    monkeypatch.setattr(trainer, "_synthesize", record_gradient)
    step_result = trainer.train_step(data.batch(config, step, config.phases[0]), config.phases[0])
    assert with_gradient == [False] * (lengths[step] - 2) + [True] * 2
    assert {"warp", "flow", "video_gan"} <= step_result.terms.keys()  # the first frame of the window has a past


def test_a_run_with_a_rollout_is_validated_on_long_windows_and_resumes_exactly(painted_dataset, tmp_path):
    config = replace(TINY, phases=(Phase(1, batch=2), Phase(2, batch=2, rollout=4)))
    train(config, train_options(painted_dataset), tmp_path / "whole")

    def stop(row):
        if row["step"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, train_options(painted_dataset), tmp_path / "stopped", event=stop)
    train(config, train_options(painted_dataset), tmp_path / "stopped")
    assert read_log(tmp_path / "stopped") == read_log(tmp_path / "whole")
    plain = replace(config, phases=(Phase(1, batch=2),))
    train(plain, train_options(painted_dataset), tmp_path / "plain")
    with_rollout, without = (
        [row["validation"] for row in read_log(tmp_path / name) if "validation" in row][0] for name in ("whole", "plain")
    )
    assert with_rollout["psnr"] != without["psnr"]
    assert "rollout" not in json.dumps(plain.to_json()) and TrainConfig.from_json(config.to_json()) == config


def test_training_does_not_change_the_random_state_and_settings_of_its_caller(painted_dataset, tmp_path):
    before = torch.random.get_rng_state(), torch.are_deterministic_algorithms_enabled()
    train(replace(TINY, phases=(Phase(1, batch=2),)), train_options(painted_dataset), tmp_path / "run")
    assert torch.equal(before[0], torch.random.get_rng_state()) and before[1] == torch.are_deterministic_algorithms_enabled()


def test_an_option_that_the_network_does_not_have_is_refused(painted_dataset, tmp_path, fsv2v):
    command = ("train", "--data", painted_dataset, "--preset", "pix2pixhd", "-o", tmp_path / "run", "--method", "adain")
    result = fsv2v(*command)
    assert result.exit_code == 2 and "a network of the family pix2pixhd has no setting method" in result.stderr


def test_a_finished_run_is_not_trained_again(uninterrupted_run, painted_dataset):
    before = (uninterrupted_run / "log.ndjson").read_bytes()
    rows: list[dict[str, Any]] = []
    train(TINY, train_options(painted_dataset), uninterrupted_run, event=rows.append)
    assert rows == [] and (uninterrupted_run / "log.ndjson").read_bytes() == before


def test_a_run_that_stopped_at_any_step_resumes_with_the_same_losses(uninterrupted_run, painted_dataset, tmp_path):
    class Stop(Exception):
        pass

    def stop_at(step):
        def event(row):
            if row["step"] == step:
                raise Stop

        return event

    for step in (0, 1, 3, 7):  # before the first state, after it, within single frames, within windows
        with pytest.raises(Stop):
            train(TINY, train_options(painted_dataset), tmp_path, event=stop_at(step))
    train(TINY, train_options(painted_dataset), tmp_path)

    assert read_log(tmp_path) == read_log(uninterrupted_run)
    resumed, expected = (load_model(run).generator.state_dict() for run in (tmp_path, uninterrupted_run))
    assert all(torch.equal(resumed[name], expected[name]) for name in expected)


@pytest.mark.slow
def test_kill_9_at_random_moments_changes_no_loss(uninterrupted_run, painted_dataset, tmp_path, fsv2v):
    out = tmp_path / "run"
    command = ["train", "--data", painted_dataset, "--preset", "tiny", "-o", out, "--perceptual", "none"]
    command += ["--log-every", 1, "--save-every", 0, "--device", "cpu"]
    rng = random.Random(0)
    for _ in range(KILLS):
        process = fsv2v.start(*command)
        time.sleep(rng.uniform(2.5, 7))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    assert fsv2v(*command).exit_code == 0
    assert read_log(out) == read_log(uninterrupted_run)


def test_a_run_is_not_continued_with_other_settings(uninterrupted_run, painted_dataset):
    with pytest.raises(ParametersDiffer, match=r"config\.learning_rate: 0\.0004 -> 0\.001"):
        train(replace(TINY, learning_rate=0.001), train_options(painted_dataset), uninterrupted_run)


def test_a_second_training_of_the_same_run_is_refused(painted_dataset, tmp_path):
    def train_again(row):
        if row.get("step") == 3:
            with pytest.raises(UsageError, match="run is being made by another process"):
                train(TINY, train_options(painted_dataset), tmp_path / "run")

    train(TINY, train_options(painted_dataset), tmp_path / "run", event=train_again)
    assert [row["step"] for row in loss_rows(tmp_path / "run")] == list(range(1, 11))


def test_a_folder_with_other_files_is_refused(painted_dataset, tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(InputError, match="not empty"):
        train(TINY, train_options(painted_dataset), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_folder_that_is_not_a_dataset_is_refused(tmp_path):
    with pytest.raises(InputError, match="is not a dataset"):
        train(TINY, train_options(tmp_path), tmp_path / "run")


def test_training_learns_to_copy_the_example(painted_dataset):
    """Forty steps without discriminators: the error on the same batch falls by a third."""
    config = replace(TINY, phases=(Phase(40, batch=4, adversarial=False),), bfloat16=False, max_examples=1)
    data = Dataset(painted_dataset, "landmarks", "train")
    trainer = Trainer(config, torch.device("cpu"), None)
    errors = [trainer.train_step(data.batch(config, step % 4, config.phases[0]), config.phases[0]).terms["raw"] for step in range(40)]
    assert np.mean(errors[-4:]) < 0.67 * np.mean(errors[:4])


assert isinstance(TINY.generator, FewShotConfig)
KEYPOINT_MOTION = replace(TINY.generator, motion="keypoints", warp_all=True)
"""A network whose flow starts from the motion of the keypoints."""


def test_a_motion_only_phase_changes_the_flow_network_alone(painted_dataset):
    phase = Phase(30, batch=4, adversarial=False, motion_only=True)
    config = replace(TINY, generator=KEYPOINT_MOTION, phases=(phase,), bfloat16=False)
    data, trainer = Dataset(painted_dataset, "landmarks", "train"), Trainer(config, torch.device("cpu"), None)
    before = {name: p.detach().clone() for name, p in trainer.generator.named_parameters()}
    errors = [trainer.train_step(data.batch(config, step % 4, phase), phase).terms["warp"] for step in range(30)]
    assert np.mean(errors[-4:]) < 0.95 * np.mean(errors[:4])
    changed = {name for name, p in trainer.generator.named_parameters() if not torch.equal(p, before[name])}
    assert changed == {name for name in before if name.startswith("flow.")}


def test_a_run_can_begin_with_a_motion_only_phase(painted_dataset, tmp_path):
    phases = (Phase(3, batch=2, adversarial=False, motion_only=True), Phase(2, batch=2), Phase(2, batch=2, frames=2))
    config = replace(TINY, generator=KEYPOINT_MOTION, phases=phases)
    snapshot = train(config, train_options(painted_dataset), tmp_path / "run")
    network = load_model(snapshot).config
    assert isinstance(network, FewShotConfig) and network.motion == "keypoints"
    assert [row["frames"] for row in read_log(tmp_path / "run") if "l1" in row][-1] == 2


def test_the_setting_far_examples_makes_examples_differ_more_from_the_window(painted_dataset):
    """The difference is the mean distance of their keypoints."""
    data, phase = Dataset(painted_dataset, "landmarks", "train"), Phase(1, batch=8)

    def mean_distance(share: float) -> float:
        config = replace(TINY, jitter=0.0, far_examples=share)
        batches = [data.batch(config, step, phase, examples=1) for step in range(6)]
        return float(np.mean([(b.frames.keypoints[:, 0] - b.examples.keypoints[:, 0])[..., :2].norm(dim=-1).mean() for b in batches]))

    assert mean_distance(1.0) > 1.2 * mean_distance(0.0)


def test_the_perceptual_loss_can_have_a_term_for_a_region(painted_dataset):
    shapes = []

    def distance(image: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        shapes.append(tuple(image.shape))
        return (image - target).abs().mean((1, 2, 3))

    losses = replace(TINY.losses, focus=0.5, focus_points=tuple(range(68)))
    config, phase = replace(TINY, losses=losses, phases=(Phase(1, batch=2, adversarial=False),)), Phase(1, batch=2, adversarial=False)
    batch = Dataset(painted_dataset, "landmarks", "train").batch(config, 0, phase)
    terms = Trainer(config, torch.device("cpu"), distance).train_step(batch, phase).terms
    assert terms["focus"] > 0 and shapes == [(2, 3, 64, 64), (2, 3, 32, 32)]


def test_a_run_of_an_older_version_can_be_resumed(painted_dataset, tmp_path):
    """Its config.json lacks settings of the network, the losses and the phases, which have their defaults."""

    class Stop(Exception):
        pass

    def stop(row):
        if row.get("step") == 4:
            raise Stop

    with pytest.raises(Stop):
        train(TINY, train_options(painted_dataset), tmp_path / "run", event=stop)
    file = tmp_path / "run" / "config.json"
    stored = json.loads(file.read_text())
    for table, settings in (("generator", ("motion", "warp_all")), ("losses", ("focus",))):
        for name in settings:
            del stored["config"][table][name]
    for phase in stored["config"]["phases"]:
        del phase["motion_only"]
    del stored["config"]["far_examples"]
    file.write_text(json.dumps(stored))
    assert train(TINY, train_options(painted_dataset), tmp_path / "run").exists()


def test_a_batch_depends_on_seed_and_step_alone(painted_dataset, tensors_of):
    one, other = (Dataset(painted_dataset, "landmarks", "train") for _ in range(2))
    phase = Phase(1, batch=2, frames=2)
    a, b = one.batch(TINY, 5, phase), other.batch(TINY, 5, phase)
    assert all(map(torch.equal, tensors_of(a), tensors_of(b)))
    assert not torch.equal(a.frames.required_image, one.batch(TINY, 6, phase).frames.required_image)
    assert not torch.equal(a.frames.required_image, one.batch(replace(TINY, seed=1), 5, phase).frames.required_image)


def test_a_batch_has_windows_examples_and_the_teachers_flow(painted_dataset):
    batch = Dataset(painted_dataset, "landmarks", "train").batch(TINY, 0, Phase(1, batch=2, frames=3))
    assert batch.frames.required_image.shape == (2, 3, 3, 64, 64) and batch.frames.semantic.shape == (2, 3, 7, 64, 64)
    assert batch.examples.required_image.shape[1] == batch.examples.keypoints.shape[1] >= 1
    assert batch.flows.shape == (2, 2, 2, 64, 64) and batch.flow_confidence.shape == (2, 2, 1, 64, 64)
    assert batch.example_flows.shape[:3] == (2, 3, 0)  # no loss uses it
    assert batch.frames.required_image.abs().max() <= 1 and batch.frames.semantic.min() >= 0 and batch.frames.semantic.max() <= 1


def test_the_teachers_flow_leads_from_each_frame_to_each_example(painted_dataset):
    config = replace(TINY, losses=replace(TINY.losses, example_flow=1.0), jitter=0.0)
    batch = Dataset(painted_dataset, "landmarks", "train").batch(config, 0, Phase(1, batch=1, frames=2), examples=3)
    assert batch.example_flows.shape == (1, 2, 3, 2, 64, 64) and batch.example_confidence.shape == (1, 2, 3, 1, 64, 64)
    for t, k in ((0, 2), (1, 0)):
        confidence = batch.example_confidence[0, t, k]
        warped = warp(batch.examples.required_image[:, k], batch.example_flows[:, t, k])[0]
        assert confidence.mean() > 0.2
        assert ((warped - batch.frames.required_image[0, t]).abs() * confidence).mean() < 0.02


def test_examples_lie_far_from_the_window_if_the_clip_is_long_enough():
    rng = np.random.default_rng(0)
    for _ in range(50):
        window, examples = draw_window(rng, list(range(100)), 4, 2, 12)
        assert np.diff(window).tolist() == [1, 1, 1]
        assert all(min(abs(e - w) for w in window) > 12 for e in examples)
    assert draw_window(rng, [7], 3, 2, 12) == ([7, 7, 7], [7, 7])


def test_a_flow_network_as_teacher_is_part_of_the_settings_of_a_run(painted_dataset, tmp_path, monkeypatch):
    opened_teachers = []
    teacher = replace(choose_teacher(), weights={"raft.onnx": "beef"})
    monkeypatch.setattr(
        Teacher, "open", lambda self, device: lambda one, other: opened_teachers.append(self) or np.zeros((64, 64, 2), np.float32)
    )
    monkeypatch.setattr("stages.train.choose_teacher", lambda model: teacher if model else choose_teacher())
    config = replace(TINY, phases=(Phase(1, batch=1, frames=2),))
    train(config, replace(train_options(painted_dataset), flow_model="raft.onnx"), tmp_path / "run")
    assert teacher in opened_teachers
    with pytest.raises(ParametersDiffer, match='flow_teacher: "dis beef" -> "dis"'):
        train(config, train_options(painted_dataset), tmp_path / "run")


def test_a_run_without_a_stored_teacher_can_be_resumed(tmp_path):
    old_config = TINY.to_json()
    del old_config["flow_teacher"]
    (tmp_path / "config.json").write_text(json.dumps({"schema": "fsv2v.run/1", "data": "faces", "config": old_config}))
    RunFolder(tmp_path).claim(TINY, "faces", overwrite=False)


def test_a_shortened_schedule_keeps_every_phase():
    uneven = replace(TINY, phases=tuple(Phase(steps) for steps in (30, 30, 30, 5, 5)))
    for recipe, steps in ((read_recipe("face-256"), 20), (uneven, 5), (uneven, 6), (uneven, 99)):
        short = recipe.with_steps(steps)
        assert short.steps == steps and all(phase.steps > 0 for phase in short.phases)
    with pytest.raises(UsageError):
        read_recipe("face-256").with_steps(2)


def test_a_state_whose_writing_was_interrupted_is_ignored(tmp_path, monkeypatch):
    folder = RunFolder(tmp_path)
    folder.save_state(1, {"step": 1}, [])
    monkeypatch.setattr(os, "replace", lambda *names: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        folder.save_state(2, {"step": 2}, [])
    assert folder.latest_state() == {"step": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["state-00000001.pt"]
