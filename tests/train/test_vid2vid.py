"""vid2vid through `train` and `synthesize`: scale by scale, windows that go on from real frames, exact resume."""

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
from stages.networks.common.discriminator_inputs import Past
from stages.networks.common.generator import Synthesis
from stages.networks.common.images import image_array
from stages.networks.common.objective import Discriminators, LossWeights, generator_losses
from stages.networks.common.residual import ResidualBlock
from stages.networks.vid2vid import PRESETS
from stages.train import LoggingSettings, Phase, TrainConfig, TrainOptions, read_recipe, train
from stages.train.data import Dataset
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


def quick(data: Path) -> TrainOptions:
    return TrainOptions(data, "cpu", LoggingSettings(1, 0))


def rows(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "log.ndjson").read_text().splitlines()]


@pytest.fixture(scope="module")
def run(painted_dataset, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("vid2vid") / "run"
    train(RECIPE, quick(painted_dataset), out)
    return out


def test_it_is_trained_scale_by_scale_with_the_terms_of_the_paper(run):
    terms = [row for row in rows(run) if "gan" in row]
    assert [row["size"] for row in terms] == [32] * 4 + [64] * 4
    assert {"gan", "feature_matching", "video_gan", "warp", "flow", "mask", "temporal", "discriminator"} <= terms[-1].keys()
    assert all(np.isfinite(value) for row in terms for value in row.values())
    assert load_model(run).config == RECIPE.generator


@pytest.mark.parametrize("stopped_at", [3, 5, 7])
def test_it_goes_on_exactly_also_while_the_coarse_scale_is_held(run, stopped_at, painted_dataset, tmp_path):
    def stop(row):
        if row.get("step") == stopped_at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(RECIPE, quick(painted_dataset), tmp_path / "run", event=stop)
    train(RECIPE, quick(painted_dataset), tmp_path / "run")
    assert rows(tmp_path / "run") == rows(run)


def test_the_coarse_scale_is_held_and_keeps_the_momentum_of_its_optimiser(painted_dataset):
    data = Dataset(painted_dataset, "landmarks", "train")
    trainer: Any = Trainer(RECIPE, torch.device("cpu"), None)

    def step() -> dict[str, torch.Tensor]:
        phase = RECIPE.phase_at(trainer.step)
        trainer.train_step(data.batch(RECIPE, trainer.step, phase), phase)
        return {name: value.clone() for name, value in trainer.generator.state_dict().items()}

    for _ in range(4):
        before = step()
    momentum = trainer.optimizer.state[trainer.generator.scales[0].heads.image.weight]["exp_avg"].clone()
    held = step()
    changed = {name.split(".")[1] for name, value in held.items() if not torch.equal(value, before[name])}
    assert changed == {"1"}
    assert torch.equal(trainer.optimizer.state[trainer.generator.scales[0].heads.image.weight]["exp_avg"], momentum)
    step()
    together = step()
    assert {name.split(".")[1] for name, value in together.items() if not torch.equal(value, held[name])} == {"0", "1"}


def test_windows_go_on_from_real_frames_which_are_not_made_again(painted_dataset):
    config = replace(RECIPE, real_past=1.0, phases=(Phase(1, batch=2, frames=2, rollout=1),))
    data = Dataset(painted_dataset, "landmarks", "train")
    trainer: Any = Trainer(config, torch.device("cpu"), None)
    step = next(step for step in range(20) if data.batch(config, step, config.phases[0]).num_frames == 5)
    batch = data.batch(config, step, config.phases[0])
    assert batch.real_frames == 2, "the past frames of the generator"

    pasts: list[Any] = []
    synthesize = trainer.generator.synthesize
    trainer.generator.synthesize = lambda code, driving, past: (pasts.append(past), synthesize(code, driving, past))[1]
    trainer._synthesize = trainer.generator.synthesize
    trainer.train_step(batch, config.phases[0])
    assert len(pasts) == 3
    newest, oldest = pasts[0].frames()
    given = batch.frames.required_image
    assert torch.equal(newest.required_image, given[:, 1]) and torch.equal(oldest.required_image, given[:, 0])
    assert torch.equal(pasts[1].older.required_image, given[:, 1])


def test_shares_of_the_steps_begin_with_real_frames_and_without(painted_dataset):
    data, phase = Dataset(painted_dataset, "landmarks", "train"), Phase(1, batch=1, frames=2)
    given = [data.batch(replace(RECIPE, real_past=0.5), step, phase).real_frames for step in range(30)]
    assert set(given) == {0, 2} and 5 <= given.count(2) <= 25
    assert not any(data.batch(replace(RECIPE, real_past=1.0), step, Phase(1, batch=1)).real_frames for step in range(3)), (
        "single frames have no past"
    )


def test_the_teacher_is_asked_for_what_the_losses_see_alone(painted_dataset):
    """Of a rollout the flows that no video discriminator reaches are zeros; the others are those of the same frames without a rollout."""
    asked = []

    def teacher(one, other):
        asked.append(1)
        return np.ones((*one.shape[:2], 2), np.float32)

    config = replace(RECIPE, discriminators=replace(RECIPE.discriminators, video_frames=2, video_rates=1), real_past=0.0)
    data, phase = Dataset(painted_dataset, "landmarks", "train", teacher), Phase(1, batch=1, frames=2, rollout=6)
    step = next(step for step in range(40) if data.batch(config, step, phase).num_frames == 8)
    asked.clear()
    flows = data.batch(config, step, phase).flows
    assert [bool(flow.any()) for flow in flows[0]] == [False] * 5 + [True] * 2
    assert len(asked) == 4, "forth and back"


def test_an_image_discriminator_can_judge_h_t_too(painted_dataset):
    torch.manual_seed(0)
    batch = Dataset(painted_dataset, "landmarks", "train").batch(RECIPE, 0, Phase(1, batch=2))
    target, frame, raw = batch.target(0), torch.rand(2, 3, 64, 64), torch.rand(2, 3, 64, 64)
    judges = Discriminators(RECIPE.generator, RECIPE.discriminators).eval()  # spectral norms stay as they are
    real, fake, painted = (judges.image(judges._condition(target, image)) for image in (target.image, frame, raw))
    expected = (losses.discriminator_loss(real, fake, "lsgan") + losses.discriminator_loss(real, painted, "lsgan")) / 2
    assert torch.allclose(judges.loss(target, frame, Past([], [], []), raw), expected)
    told = judges.generator_terms(target, frame, Past([], [], []), raw)["gan"]
    assert torch.allclose(told, (losses.generator_loss(fake, "lsgan") + losses.generator_loss(painted, "lsgan")) / 2)


def test_the_temporal_term_compares_with_the_frame_before_where_the_flow_can_be_trusted(painted_dataset):
    batch = Dataset(painted_dataset, "landmarks", "train").batch(replace(RECIPE, real_past=0.0), 0, Phase(1, batch=2, frames=2))
    target: Any = batch.target(1)
    frame, before = torch.rand(2, 3, 64, 64), torch.rand(2, 3, 64, 64)
    weights = LossWeights(l1=0, raw=0, warp=0, flow=0, mask=0, keypoint=0, temporal=3)
    past = Past([batch.target(0).image], [before], [])
    terms = generator_losses(Synthesis(frame, frame), target, weights, None, None, past)
    expected = 3 * F.l1_loss(frame * target.flow_confidence, warp(before, target.flow) * target.flow_confidence)
    assert terms.keys() == {"temporal"} and torch.allclose(terms["temporal"], expected, rtol=1e-4)


def test_the_foreground_is_named_in_a_recipe_and_unknown_names_are_refused(painted_dataset, tmp_path):
    recipe = replace(RECIPE, generator=replace(PRESETS["tiny-vid2vid"], foreground=("tram",)))
    with pytest.raises(UsageError, match="has no tram"):
        train(recipe, quick(painted_dataset), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_names_of_labels_do_not_depend_on_one_clip(painted_dataset, tmp_path):
    broken = tmp_path / "faces"
    shutil.copytree(painted_dataset, broken)
    first = Dataset(broken, "landmarks", "train").subjects[0][0]
    (first.path / "clip.json").write_text("{")
    with pytest.raises(InvalidClip):
        assert first.track
    assert Dataset(broken, "landmarks", "train").label_names() == ()


def test_recipes_of_all_scales_are_whole(tmp_path):
    for preset in ("vid2vid-street-512", "vid2vid-street-1024", "vid2vid-street-2048", "vid2vid-face", "vid2vid-pose", "street-small"):
        config = read_recipe(preset)
        assert TrainConfig.from_json(json.loads(json.dumps(config.to_json()))) == config
        assert config.generator.family == "vid2vid" and config.losses.warp == config.losses.flow or preset == "street-small"


# synthesis


@pytest.fixture(scope="module")
def driver(tmp_path_factory, make_painted_clip):
    return open_clip(make_painted_clip(tmp_path_factory.mktemp("clips") / "driver.clip", 1, num_frames=5))


def test_it_makes_a_video_without_examples(run, driver, tmp_path, fsv2v):
    done = fsv2v("synthesize", "--driving", driver.path, "--model", run, "--crop", "none", "--device", "cpu", "-o", "out.mp4", cwd=tmp_path)
    assert done.exit_code == 0, done.stderr
    assert probe(tmp_path / "out.mp4").num_frames == 5


def test_it_goes_on_from_real_frames(run, driver, tmp_path, fsv2v):
    """The past of the first frame are the last two frames of --start, with their own semantic images."""
    asked = ["synthesize", "--driving", driver.path, "--model", run, "--crop", "none", "--device", "cpu", "--precision", "fp32"]
    start = tmp_path / "start.clip"
    shutil.copytree(driver.path, start)
    done = fsv2v(*asked, "--start", start, "-o", "on.clip", cwd=tmp_path)
    assert done.exit_code == 0, done.stderr
    made = list(open_clip(tmp_path / "on.clip").frames())

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
    assert np.abs(made[0].astype(int) - image_array(expected[0])).mean() < 2, "coded with loss"

    alone = fsv2v(*asked, "-o", "alone.clip", cwd=tmp_path)
    assert alone.exit_code == 0
    assert np.abs(made[0].astype(int) - open_clip(tmp_path / "alone.clip").frame(0)).mean() > 2
    assert fsv2v(*asked, "--start", tmp_path / "none.clip", "-o", "x.mp4", cwd=tmp_path).exit_code == 3


def test_real_frames_of_another_shape_are_warned_of(run, driver, tmp_path, fsv2v):
    """They are squeezed to the size of the model. Frames of the same shape are not."""
    asked = ["synthesize", "--driving", driver.path, "--model", run, "--crop", "none", "--device", "cpu"]
    wide = create_clip(tmp_path / "wide.clip", (np.zeros((64, 96, 3), np.uint8) for _ in range(2)), storage="png")
    with wide.writing("landmarks", Producer("painted"), {}) as layer:
        layer.arrays(points=driver.layer("landmarks").arrays()["points"][:2])
    for start, warned in ((wide.path, True), (driver.path, False)):
        done = fsv2v(*asked, "--start", start, "-o", f"{warned}.clip", cwd=tmp_path)
        assert done.exit_code == 0
        assert ("wide has 96x64 pixels and is squeezed to 64x64" in " ".join(done.stderr.split())) is warned


def test_examples_for_a_model_that_uses_none_are_refused_before_any_work(run, driver, tmp_path, fsv2v):
    Image.new("RGB", (64, 64)).save(tmp_path / "face.png")
    done = fsv2v("synthesize", "--driving", driver.path, "--model", run, "--examples", "face.png", "-o", "x.mp4", cwd=tmp_path)
    assert done.exit_code == 2 and "uses no examples" in done.stderr
    assert "extracting" not in done.stderr and not (tmp_path / "x.mp4").exists()


def test_activations_that_are_computed_again_change_no_weight(painted_dataset):
    """Those of a frame, and within it those of each residual block; those of the perceptual distance and of the discriminators."""
    data, found, features = Dataset(painted_dataset, "landmarks", "train"), [], torch.nn.Conv2d(3, 8, 5).requires_grad_(False)

    def perceptual(image: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        return (features(image).relu() - features(truth).relu()).abs().mean((1, 2, 3))

    for checkpoint in (False, True):
        trainer: Any = Trainer(replace(RECIPE, bfloat16=False), torch.device("cpu"), perceptual, ComputeSettings(checkpoint=checkpoint))
        trainer.step = 6
        for _ in range(2):
            phase = RECIPE.phase_at(trainer.step)
            trainer.train_step(data.batch(RECIPE, trainer.step, phase), phase)
        found.append(trainer.generator.state_dict())
    assert all(torch.equal(value, found[1][name]) for name, value in found[0].items())


def kept_for_gradients(compute: Callable[[], torch.Tensor], inputs: list[torch.Tensor]) -> tuple[int, tuple[torch.Tensor, ...]]:
    """Number of values that are kept for the gradients, apart from parameters, and the gradients of `inputs`."""
    places: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if not isinstance(tensor, torch.nn.Parameter):
            places[tensor.data_ptr()] = tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        result = compute()
    return sum(places.values()), torch.autograd.grad(result, inputs)


def test_a_block_that_recomputes_keeps_its_input_alone():
    block, x = ResidualBlock(8, affine=True), torch.rand(1, 8, 16, 16, requires_grad=True)
    found = []
    for block.recomputes in (False, True):
        found.append(kept_for_gradients(lambda: block(x).square().sum(), [x, *block.parameters()]))
    (plain, gradients), (recomputed, same) = found
    assert all(torch.equal(a, b) for a, b in zip(gradients, same, strict=True))
    assert recomputed <= 2 * x.numel() < plain / 3  # input and output


def test_discriminators_that_recompute_keep_no_activations(painted_dataset):
    batch = Dataset(painted_dataset, "landmarks", "train").batch(RECIPE, 6, RECIPE.phase_at(6))
    discriminators, target = Discriminators(RECIPE.generator).requires_grad_(False).eval(), batch.target(1)
    fake, past = torch.rand_like(target.image, requires_grad=True), Past([batch.target(0).image], [batch.target(0).image], [])
    found = []
    for discriminators.recomputes in (False, True):
        terms = lambda: torch.stack(list(discriminators.generator_terms(target, fake, past).values())).sum()  # noqa: E731
        found.append(kept_for_gradients(terms, [fake]))
    (plain, gradients), (recomputed, same) = found
    assert torch.equal(*gradients, *same)
    assert recomputed < plain / 10
