"""Training vid2vid scale by scale, with windows that continue real frames and exact resume; synthesis with the trained model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from stages.clip import Producer, create_clip, open_clip, probe
from stages.conditions.framing import frame_of, sample_of
from stages.conditions.kinds import open_track
from stages.conditions.view import View
from stages.errors import InvalidClip, UsageError
from stages.flow.warp import warp
from stages.models import load_model
from stages.networks.common import losses
from stages.networks.common.discriminator_inputs import History
from stages.networks.common.generator import Synthesis
from stages.networks.common.images import image_array
from stages.networks.common.objective import Discriminators, LossWeights, generator_losses
from stages.networks.common.residual import ResidualBlock
from stages.networks.vid2vid import PRESETS
from stages.train import LoggingSettings, Phase, TrainConfig, TrainOptions, read_recipe, train
from stages.train.data import Dataset
from stages.train.loop import SHEET_WINDOWS
from stages.train.trainer import ComputeSettings, Trainer

RECIPE = replace(
    read_recipe("vid2vid-street-512"),
    generator=PRESETS["tiny-vid2vid"],
    perceptual="none",
    phases=(
        Phase(2, scale=0.5, batch=2),
        Phase(2, scale=0.5, batch=2, frames=3),
        Phase(2, batch=2, frames=2, finest_only=True),
        Phase(2, batch=2, frames=2, rollout=2),
    ),
)
RECIPE = replace(RECIPE, discriminators=replace(RECIPE.discriminators, filters=8, layers=3))


def train_options(data: Path) -> TrainOptions:
    return TrainOptions(data, "cpu", LoggingSettings(1, 0))


def read_log(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "log.ndjson").read_text().splitlines()]


@pytest.fixture(scope="module")
def run(painted_dataset, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("vid2vid") / "run"
    train(RECIPE, train_options(painted_dataset), out)
    return out


def test_training_goes_scale_by_scale_with_the_losses_of_the_paper(run):
    terms = [row for row in read_log(run) if "gan" in row]
    assert [row["size"] for row in terms] == [32] * 4 + [64] * 4
    assert {"gan", "feature_matching", "video_gan", "warp", "flow", "mask", "temporal", "discriminator"} <= terms[-1].keys()
    assert all(np.isfinite(value) for row in terms for value in row.values())
    assert load_model(run).config == RECIPE.generator


def test_each_scale_has_its_own_learning_rates_as_in_the_public_code():
    rates = [RECIPE.rate_factor_at(step) for step in range(RECIPE.steps)]
    assert rates[:4] == rates[4:] and rates[0] == 1 and rates[3] < 1
    together = replace(RECIPE, phases=tuple(replace(phase, finest_only=False) for phase in RECIPE.phases))
    assert together.rate_factor_at(5) < 1, "scales that are trained together share one schedule"


def test_samples_and_validation_metrics_are_those_of_the_scale_that_is_trained(run):
    heights = {int(path.stem): Image.open(path).height for path in (run / "samples").iterdir()}
    assert heights[0] == heights[2] == heights[4], "frames of 32 pixels"
    assert heights[8] == heights[4] + 32 * SHEET_WINDOWS, "frames of 64 pixels"
    validations = [row["validation"] for row in read_log(run) if "validation" in row]
    assert len({row["repeat_psnr"] for row in validations}) == 2, "one baseline for each scale"


def test_the_moving_average_of_the_weights_restarts_with_each_scale(painted_dataset):
    """Otherwise the finest scale would show its first, random weights for hundreds of steps."""
    trainer = Trainer(RECIPE, torch.device("cpu"), None)
    data = Dataset(painted_dataset, RECIPE.generator.kind, "train")
    trainer.step = 4
    before = {name: value.clone() for name, value in trainer.average.items()}
    trainer.train_step(data.batch(RECIPE, 4, RECIPE.phases[2]), RECIPE.phases[2])
    after, name = trainer.generator.state_dict(), "scales.1.heads.image.weight"
    weight_of_new = (trainer.average[name] - before[name]).norm() / (after[name] - before[name]).norm()
    assert weight_of_new > 0.85, "0.9 in the first step of a scale; without the restart it would be 0.64 in this step"


@pytest.mark.parametrize("stopped_at", [3, 5, 7])
def test_a_stopped_run_resumes_exactly_also_while_the_coarse_scale_is_frozen(run, stopped_at, painted_dataset, tmp_path):
    def stop(row):
        if row.get("step") == stopped_at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(RECIPE, train_options(painted_dataset), tmp_path / "run", event=stop)
    train(RECIPE, train_options(painted_dataset), tmp_path / "run")
    assert read_log(tmp_path / "run") == read_log(run)


def test_the_frozen_coarse_scale_keeps_the_momentum_of_its_optimiser(painted_dataset):
    data = Dataset(painted_dataset, "landmarks", "train")
    trainer: Any = Trainer(RECIPE, torch.device("cpu"), None)

    def train_step() -> dict[str, torch.Tensor]:
        phase = RECIPE.phase_at(trainer.step)
        trainer.train_step(data.batch(RECIPE, trainer.step, phase), phase)
        return {name: value.clone() for name, value in trainer.generator.state_dict().items()}

    for _ in range(4):
        before = train_step()
    momentum = trainer.optimizer.state[trainer.generator.scales[0].heads.image.weight]["exp_avg"].clone()
    after_freezing = train_step()
    changed = {name.split(".")[1] for name, value in after_freezing.items() if not torch.equal(value, before[name])}
    assert changed == {"1"}
    assert torch.equal(trainer.optimizer.state[trainer.generator.scales[0].heads.image.weight]["exp_avg"], momentum)
    train_step()
    after_joint_steps = train_step()
    assert {name.split(".")[1] for name, value in after_joint_steps.items() if not torch.equal(value, after_freezing[name])} == {"0", "1"}


def test_windows_continue_real_frames_which_are_not_synthesized(painted_dataset):
    config = replace(RECIPE, real_past=1.0, phases=(Phase(1, batch=2, frames=2, rollout=1),))
    data = Dataset(painted_dataset, "landmarks", "train")
    trainer: Any = Trainer(config, torch.device("cpu"), None)
    longest = 2 + 1 + 2  # real past, rollout, window
    step = next(step for step in range(20) if data.batch(config, step, config.phases[0]).num_frames == longest)
    batch = data.batch(config, step, config.phases[0])
    assert batch.real_frames == 2, "the past of this generator has two frames"

    pasts: list[Any] = []

    synthesize = trainer.generator.synthesize

    def record_past(code, driving, past):
        pasts.append(past)
        return synthesize(code, driving, past)

    trainer.generator.synthesize = record_past  # for the rollout
    trainer._synthesize = record_past  # for the window
    trainer.train_step(batch, config.phases[0])
    assert len(pasts) == 3
    newest, oldest = pasts[0].frames()
    images = batch.frames.required_image
    assert torch.equal(newest.required_image, images[:, 1]) and torch.equal(oldest.required_image, images[:, 0])
    assert torch.equal(pasts[1].older.required_image, images[:, 1])


def test_real_past_is_the_share_of_windows_that_continue_real_frames(painted_dataset):
    data, phase = Dataset(painted_dataset, "landmarks", "train"), Phase(1, batch=1, frames=2)
    lengths = [data.batch(replace(RECIPE, real_past=0.5), step, phase).real_frames for step in range(30)]
    assert set(lengths) == {0, 2} and 5 <= lengths.count(2) <= 25
    single = [data.batch(replace(RECIPE, real_past=1.0), step, Phase(1, batch=1)) for step in range(3)]
    assert not any(batch.real_frames for batch in single), "single frames have no past"


def test_the_teacher_computes_only_the_flows_that_the_losses_use(painted_dataset):
    """In a rollout, flows before the windows of the video discriminators are zeros."""
    calls = []

    def teacher(one, other):
        calls.append(1)
        return np.ones((*one.shape[:2], 2), np.float32)

    config = replace(RECIPE, discriminators=replace(RECIPE.discriminators, video_frames=2, video_rates=1), real_past=0.0)
    data, phase = Dataset(painted_dataset, "landmarks", "train", teacher), Phase(1, batch=1, frames=2, rollout=6)
    step = next(step for step in range(40) if data.batch(config, step, phase).num_frames == 8)
    calls.clear()
    flows = data.batch(config, step, phase).flows
    assert [bool(flow.any()) for flow in flows[0]] == [False] * 5 + [True] * 2
    assert len(calls) == 4, "each flow is computed forward and backward"


def test_the_image_discriminator_can_also_score_h_t(painted_dataset):
    torch.manual_seed(0)
    batch = Dataset(painted_dataset, "landmarks", "train").batch(RECIPE, 0, Phase(1, batch=2))
    target, frame, raw = batch.target(0), torch.rand(2, 3, 64, 64), torch.rand(2, 3, 64, 64)
    discriminators = Discriminators(RECIPE.generator, RECIPE.discriminators).eval()  # spectral norms stay as they are
    real, fake, fake_raw = (discriminators.image(discriminators._condition(target, image)) for image in (target.image, frame, raw))
    expected = (losses.discriminator_loss(real, fake, "lsgan") + losses.discriminator_loss(real, fake_raw, "lsgan")) / 2
    assert torch.allclose(discriminators.loss(target, frame, History([], [], []), raw), expected)
    term = discriminators.generator_terms(target, frame, History([], [], []), raw)["gan"]
    assert torch.allclose(term, (losses.generator_loss(fake, "lsgan") + losses.generator_loss(fake_raw, "lsgan")) / 2)


def test_the_temporal_loss_compares_with_the_warped_past_frame_where_the_flow_is_confident(painted_dataset):
    batch = Dataset(painted_dataset, "landmarks", "train").batch(replace(RECIPE, real_past=0.0), 0, Phase(1, batch=2, frames=2))
    target: Any = batch.target(1)
    frame, before = torch.rand(2, 3, 64, 64), torch.rand(2, 3, 64, 64)
    weights = LossWeights(l1=0, raw=0, warp=0, flow=0, mask=0, keypoint=0, temporal=3)
    past = History([batch.target(0).image], [before], [])
    terms = generator_losses(Synthesis(frame, frame), target, weights, None, None, past)
    expected = 3 * F.l1_loss(frame * target.flow_confidence, warp(before, target.flow) * target.flow_confidence)
    assert terms.keys() == {"temporal"} and torch.allclose(terms["temporal"], expected, rtol=1e-4)


def test_unknown_foreground_labels_in_a_recipe_are_refused(painted_dataset, tmp_path):
    recipe = replace(RECIPE, generator=replace(PRESETS["tiny-vid2vid"], foreground=("tram",)))
    with pytest.raises(UsageError, match="has no tram"):
        train(recipe, train_options(painted_dataset), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_damaged_first_clip_does_not_prevent_reading_the_label_names(painted_dataset, tmp_path):
    damaged = tmp_path / "faces"
    shutil.copytree(painted_dataset, damaged)
    first = Dataset(damaged, "landmarks", "train").subjects[0][0]
    (first.path / "clip.json").write_text("{")
    with pytest.raises(InvalidClip):
        assert first.track
    assert Dataset(damaged, "landmarks", "train").label_names() == (), "a dataset of faces has no labels"


def test_every_vid2vid_recipe_survives_a_round_trip_through_json():
    for preset in ("vid2vid-street-512", "vid2vid-street-1024", "vid2vid-street-2048", "vid2vid-face", "vid2vid-pose", "street-small"):
        config = read_recipe(preset)
        assert TrainConfig.from_json(json.loads(json.dumps(config.to_json()))) == config
        assert config.generator.family == "vid2vid"
        if preset != "street-small":  # its losses are not those of the paper
            assert config.losses.warp == config.losses.flow


# synthesis


@pytest.fixture(scope="module")
def driver(tmp_path_factory, make_painted_clip):
    return open_clip(make_painted_clip(tmp_path_factory.mktemp("clips") / "driver.clip", 1, num_frames=5))


def test_the_model_makes_a_video_without_examples(run, driver, tmp_path, fsv2v):
    arguments = ["--driving", driver.path, "--model", run, "--crop", "none", "--device", "cpu", "-o", "out.mp4"]
    result = fsv2v("synthesize", *arguments, cwd=tmp_path)
    assert result.exit_code == 0, result.stderr
    assert probe(tmp_path / "out.mp4").num_frames == 5


def test_a_video_can_continue_real_frames(run, driver, tmp_path, fsv2v):
    """The past of the first frame consists of the last two frames of --start and their semantic images."""
    command = ["synthesize", "--driving", driver.path, "--model", run, "--crop", "none", "--device", "cpu", "--precision", "fp32"]
    start = tmp_path / "start.clip"
    shutil.copytree(driver.path, start)
    result = fsv2v(*command, "--start", start, "-o", "continued.clip", cwd=tmp_path)
    assert result.exit_code == 0, result.stderr
    continued = open_clip(tmp_path / "continued.clip").frame(0).astype(int)

    generator = load_model(run).generator
    track = open_track(driver, "landmarks")
    view = View.scaled(driver.height, driver.width, 64, 64)
    samples = [sample_of(track, index, view, view.image(driver.frame(index))) for index in range(5)]
    past = None
    for sample in samples[-2:]:
        frame = frame_of([sample], torch.device("cpu"))
        past = generator.remember(frame, Synthesis(frame.required_image, frame.required_image), past)
    with torch.no_grad():
        expected, _ = generator.step(None, replace(frame_of(samples[:1], torch.device("cpu")), image=None), past)
    assert np.abs(continued - image_array(expected[0])).mean() < 2, "grey levels"

    assert fsv2v(*command, "-o", "alone.clip", cwd=tmp_path).exit_code == 0
    assert np.abs(continued - open_clip(tmp_path / "alone.clip").frame(0)).mean() > 2
    assert fsv2v(*command, "--start", tmp_path / "none.clip", "-o", "x.mp4", cwd=tmp_path).exit_code == 3


def test_a_warning_says_that_real_frames_of_another_aspect_ratio_are_squeezed(run, driver, tmp_path, fsv2v):
    command = ["synthesize", "--driving", driver.path, "--model", run, "--crop", "none", "--device", "cpu"]
    wide = create_clip(tmp_path / "wide.clip", (np.zeros((64, 96, 3), np.uint8) for _ in range(2)), storage="png")
    with wide.writing("landmarks", Producer("painted"), {}) as layer:
        layer.arrays(points=driver.layer("landmarks").arrays()["points"][:2])
    for start, warned in ((wide.path, True), (driver.path, False)):
        result = fsv2v(*command, "--start", start, "-o", f"{warned}.clip", cwd=tmp_path)
        assert result.exit_code == 0
        assert ("wide has 96x64 pixels and is squeezed to 64x64" in " ".join(result.stderr.split())) is warned


def test_examples_for_a_model_that_uses_none_are_refused_before_any_work(run, driver, tmp_path, fsv2v):
    Image.new("RGB", (64, 64)).save(tmp_path / "face.png")
    result = fsv2v("synthesize", "--driving", driver.path, "--model", run, "--examples", "face.png", "-o", "x.mp4", cwd=tmp_path)
    assert result.exit_code == 2 and "uses no examples" in result.stderr
    assert "extracting" not in result.stderr and not (tmp_path / "x.mp4").exists()


def test_recomputing_activations_changes_no_weight(painted_dataset):
    """The activations of frames, residual blocks, the perceptual distance and the discriminators are recomputed in the backward pass."""
    data, states, features = Dataset(painted_dataset, "landmarks", "train"), [], torch.nn.Conv2d(3, 8, 5).requires_grad_(False)

    def perceptual(image: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        return (features(image).relu() - features(truth).relu()).abs().mean((1, 2, 3))

    for checkpoint in (False, True):
        trainer: Any = Trainer(replace(RECIPE, bfloat16=False), torch.device("cpu"), perceptual, ComputeSettings(checkpoint=checkpoint))
        trainer.step = 6
        for _ in range(2):
            phase = RECIPE.phase_at(trainer.step)
            trainer.train_step(data.batch(RECIPE, trainer.step, phase), phase)
        states.append(trainer.generator.state_dict())
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def stored_values_and_gradients(compute: Callable[[], torch.Tensor], inputs: list[torch.Tensor]) -> tuple[int, tuple[torch.Tensor, ...]]:
    """The number of values that are stored for the backward pass, apart from parameters, and the gradients of `inputs`."""
    sizes: dict[int, int] = {}  # address -> number of values

    def record_size(tensor: torch.Tensor) -> torch.Tensor:
        if not isinstance(tensor, torch.nn.Parameter):
            sizes[tensor.data_ptr()] = tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(record_size, lambda tensor: tensor):
        result = compute()
    return sum(sizes.values()), torch.autograd.grad(result, inputs)


def test_a_block_that_recomputes_stores_only_its_input():
    block, x = ResidualBlock(8, affine=True), torch.rand(1, 8, 16, 16, requires_grad=True)
    results = []
    for block.recomputes in (False, True):
        results.append(stored_values_and_gradients(lambda: block(x).square().sum(), [x, *block.parameters()]))
    (plain, gradients), (recomputed, same_gradients) = results
    assert all(torch.equal(a, b) for a, b in zip(gradients, same_gradients, strict=True))
    assert recomputed <= 2 * x.numel() < plain / 3  # the block stores its input; square() stores the block's output


def test_discriminators_that_recompute_store_no_activations(painted_dataset):
    batch = Dataset(painted_dataset, "landmarks", "train").batch(RECIPE, 6, RECIPE.phase_at(6))
    discriminators, target = Discriminators(RECIPE.generator).requires_grad_(False).eval(), batch.target(1)
    fake, past = torch.rand_like(target.image, requires_grad=True), History([batch.target(0).image], [batch.target(0).image], [])

    def sum_of_terms() -> torch.Tensor:
        return torch.stack(list(discriminators.generator_terms(target, fake, past).values())).sum()

    results = []
    for discriminators.recomputes in (False, True):
        results.append(stored_values_and_gradients(sum_of_terms, [fake]))
    (plain, (gradient,)), (recomputed, (same_gradient,)) = results
    assert torch.equal(gradient, same_gradient)
    assert recomputed < plain / 10
