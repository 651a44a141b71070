"""The local enhancer: it begins as the matting of the canvas, works on top of a frozen base, and its file leaves the base out."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from stages.clip import open_clip
from stages.conditions.view import View
from stages.errors import InputError, MissingRequirement
from stages.models import load_base, load_model, save_model
from stages.networks import families
from stages.networks.common.frame import Frame
from stages.networks.common.generator import Synthesis
from stages.networks.common.images import image_array, image_tensor
from stages.networks.common.inference import InferenceOptions, Renderer
from stages.networks.enhancer.config import PRESETS
from stages.networks.enhancer.generator import Enhancer
from stages.networks.fewshot.config import PRESETS as FEW_SHOT
from stages.networks.fewshot.generator import FewShotGenerator
from stages.synthesize import SynthesizeOptions, synthesize
from stages.synthesize.canvas import Canvas, FullSizeExample
from stages.train import LoggingSettings, Phase, TrainOptions, read_recipe, train

BASE = replace(FEW_SHOT["tiny"], size=(32, 32))
SEVERAL = replace(BASE, motion="keypoints", warp_all=True)
TINY = PRESETS["tiny-enhancer"]
SIDE = 64


def make_base(config=BASE) -> FewShotGenerator:
    torch.manual_seed(1)
    base = FewShotGenerator(config)
    with torch.no_grad():
        base.flow.head.weight.mul_(5)  # type: ignore[operator]  # so that something moves
    return base.eval()


def make_enhancer(base: FewShotGenerator | None = None, *, trained: bool = False) -> Enhancer:
    """An enhancer with its base; if `trained`, its corrections are not zero."""
    torch.manual_seed(0)
    enhancer = Enhancer(TINY)  # type: ignore[arg-type]
    if trained:
        for layer in (enhancer.to_flow, enhancer.to_detail):
            torch.nn.init.normal_(layer.weight, 0, 0.1)  # type: ignore[arg-type]
    enhancer.attach_base(base or make_base())
    return enhancer.eval()


def smooth_images(count: int, seed: int = 0) -> np.ndarray:
    """uint8 [count, SIDE, SIDE, 3] without fine detail, because the canvas interpolates in steps of 1/32 pixel."""
    noise = np.random.default_rng(seed).uniform(0, 255, (count, 9, 9, 3)).astype(np.float32)
    return np.stack([cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC) for image in noise]).clip(0, 255).astype(np.uint8)


def frames(images: np.ndarray | None, count: int = 1, seed: int = 0) -> Frame:
    """`count` frames with random keypoints, [count, ...]."""
    draw = torch.Generator().manual_seed(seed)
    keypoints = torch.cat([16 + 32 * torch.rand(count, 68, 2, generator=draw), torch.ones(count, 68, 1)], 2)
    semantic = torch.rand(count, 7, SIDE, SIDE, generator=draw)
    return Frame(semantic, keypoints, None if images is None else image_tensor(images))


def halved_points(keypoints: torch.Tensor) -> torch.Tensor:
    """The keypoints in an image of half the size, through the view that makes it."""
    through = View.scaled(SIDE, SIDE, SIDE // 2, SIDE // 2)
    return torch.from_numpy(np.stack([through.points(points) for points in keypoints.numpy()])).float()


def test_a_stored_configuration_is_read_again():
    config = replace(TINY, base_sha256="12ab")  # type: ignore[call-arg]
    assert families.config_from_json(json.loads(json.dumps(config.to_json()))) == config
    with pytest.raises(TypeError, match="not the name of a file"):
        families.config_from_json({**config.to_json(), "base": 5})


@pytest.mark.parametrize("count", [1, 3])
def test_before_training_the_frame_is_that_of_the_canvas(count):
    base = make_base(SEVERAL)
    enhancer, images = make_enhancer(base), smooth_images(count)
    examples = frames(images, count, seed=3).map(lambda x: x[None])
    with torch.no_grad():
        made = enhancer.synthesize(enhancer.encode_examples(examples), frames(None))
    shrink = torch.nn.AvgPool2d(2)
    small, few = (Frame(shrink(x.semantic), halved_points(x.keypoints)) for x in (frames(None), examples.map(lambda x: x[0])))
    with torch.no_grad():
        coarse = base.synthesize(base.encode_examples(replace(few, image=shrink(image_tensor(images))).map(lambda x: x[None])), small)
    view = View.scaled(SIDE, SIDE, 32, 32)
    expected = Canvas([FullSizeExample(image, view) for image in images]).frame(coarse, range(count))
    assert coarse.example is not None and float(coarse.example.flow.abs().max()) > 0.5
    difference = np.abs(image_array(made.frame[0]).astype(int) - expected)
    assert difference.mean() < 0.5 and np.quantile(difference, 0.99) <= 3


def test_the_base_gets_no_gradient_and_is_not_among_the_weights():
    base = make_base()
    enhancer = make_enhancer(base)
    before = {name: value.clone() for name, value in enhancer.base.state_dict().items()}
    enhancer.train()
    made = enhancer.synthesize(enhancer.encode_examples(frames(smooth_images(1)).map(lambda x: x[None])), frames(None, seed=2))
    (made.frame - 0.3).square().mean().backward()
    assert all(p.grad is not None for p in (enhancer.to_flow.weight, enhancer.to_detail.weight))
    assert all(p.grad is None and not p.requires_grad for p in enhancer.base.parameters()) and not enhancer.base.training
    torch.optim.Adam(enhancer.parameters(), 0.1).step()
    assert all(torch.equal(value, before[name]) for name, value in enhancer.base.state_dict().items())
    assert not set(base.state_dict()) & set(enhancer.state_dict()) and sum(p.numel() for p in enhancer.parameters()) < 10_000


def test_the_past_is_the_frames_of_the_base():
    base = make_base()
    enhancer, examples = make_enhancer(base, trained=True), frames(smooth_images(1)).map(lambda x: x[None])
    code, past = enhancer.encode_examples(examples), None
    alone_code, alone_past = code.base, None
    for seed in range(3):
        driving = frames(None, seed=seed)
        small = enhancer.remember(driving, Synthesis(torch.zeros(1, 3, SIDE, SIDE), torch.zeros(1)), None)
        with torch.no_grad():
            made = enhancer.synthesize(code, driving, past)
            past = enhancer.remember(driving, made, past)
            alone, alone_past = enhancer.base.step(alone_code, replace(small, image=None), alone_past)
        assert torch.equal(made.coarser[0], alone) and past.required_image.shape[-2:] == (32, 32)


def test_the_fast_form_makes_the_same_frames():
    enhancer = make_enhancer(make_base(SEVERAL), trained=True)
    renderer = Renderer(enhancer, InferenceOptions(precision="fp32"))
    examples = frames(smooth_images(3), 3, seed=3).map(lambda x: x[None])
    code, fast = enhancer.encode_examples(examples), renderer.encode_examples(examples)
    for chosen in ([0, 1, 2], [2]):
        with torch.no_grad():
            expected, past = enhancer.step(enhancer.select_examples(code, chosen), frames(None))
            expected, _ = enhancer.step(enhancer.select_examples(code, chosen), frames(None, seed=5), past)
        _, fast_past = renderer.step(renderer.select_examples(fast, chosen), frames(None))
        made, _ = renderer.step(renderer.select_examples(fast, chosen), frames(None, seed=5), fast_past)
        assert (made - expected).abs().max() < 1e-3


def test_a_base_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="at 64x64 with 7 channels does not fit a base for landmarks at 64x64"):
        Enhancer(TINY).attach_base(FewShotGenerator(FEW_SHOT["tiny"]))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="family pix2pixhd"):
        Enhancer(TINY).attach_base(families.build(families.presets()["tiny-pix2pixhd"]))  # type: ignore[arg-type]


@pytest.fixture
def base_file(tmp_path) -> Path:
    path = tmp_path / "weights" / "mine.safetensors"
    path.parent.mkdir()
    save_model(path, make_base().state_dict(), BASE, {"step": 1})
    return path


def save_enhancer(path: Path, base: Path) -> Enhancer:
    """Write an enhancer with the base in the file `base`. Returns it with the weights of its file."""
    config, generator = load_base(replace(TINY, base=os.fspath(base)))  # type: ignore[call-arg]
    torch.manual_seed(0)
    enhancer = families.build(config)
    assert isinstance(enhancer, Enhancer) and isinstance(generator, FewShotGenerator)
    torch.nn.init.normal_(enhancer.to_detail.weight, 0, 0.1)  # type: ignore[arg-type]
    save_model(path, enhancer.state_dict(), config, {"step": 1})
    enhancer.load_state_dict({name: value.float() for name, value in load_file(path).items()})
    enhancer.attach_base(generator)
    return enhancer.eval()


def test_a_file_holds_no_weights_of_the_base_and_finds_it_beside_itself(tmp_path, base_file):
    enhancer = save_enhancer(tmp_path / "e.safetensors", base_file)
    assert set(load_file(tmp_path / "e.safetensors")) == set(enhancer.state_dict())
    base_file.rename(tmp_path / "mine.safetensors")
    loaded = load_model(tmp_path / "e.safetensors").generator
    examples = frames(smooth_images(1)).map(lambda x: x[None])
    with torch.no_grad():
        results = [one.synthesize(one.encode_examples(examples), frames(None, seed=1)).frame for one in (enhancer, loaded)]
    assert torch.equal(*results)


def test_a_missing_base_is_named_and_can_be_given(tmp_path, base_file):
    save_enhancer(tmp_path / "e.safetensors", base_file)
    hidden = base_file.rename(tmp_path / "weights" / "other.safetensors")
    with pytest.raises(MissingRequirement, match="enhances the images of the model .*mine.safetensors .*not found") as caught:
        load_model(tmp_path / "e.safetensors")
    assert caught.value.code == "base-missing"
    assert load_model(tmp_path / "e.safetensors", hidden).config.base_model is not None
    save_model(hidden, make_base(SEVERAL).state_dict(), SEVERAL, {"step": 1})
    with pytest.raises(InputError, match="is not the base of"):
        load_model(tmp_path / "e.safetensors", hidden)


def test_a_recipe_whose_base_has_changed_is_refused(base_file):
    with pytest.raises(InputError, match="the recipe needs 12ab"):
        load_base(replace(TINY, base=os.fspath(base_file), base_sha256="12ab"))  # type: ignore[call-arg]


def test_an_enhancer_is_trained_resumed_and_used(tmp_path, base_file, painted_dataset, make_painted_clip):
    recipe = replace(
        read_recipe("face-512"), generator=replace(TINY, base=os.fspath(base_file)), perceptual="none",  # type: ignore[call-arg]
        phases=(Phase(2, batch=2, adversarial=False), Phase(2, batch=1, frames=2)),
    )  # fmt: skip
    options = TrainOptions(painted_dataset, "cpu", LoggingSettings(1, 0))
    train(recipe, options, tmp_path / "run")
    rows = (tmp_path / "run" / "log.ndjson").read_text()
    for late in tmp_path.glob("run/*-00000004.*"):
        late.unlink()
    train(recipe, options, tmp_path / "run")
    assert (tmp_path / "run" / "log.ndjson").read_text() == rows
    model = load_model(tmp_path / "run")
    assert not torch.equal(model.generator.state_dict()["to_detail.weight"], torch.zeros(16, 8, 3, 3))
    clip = open_clip(make_painted_clip(tmp_path / "person.clip", 7))
    synthesize([clip], clip, model, tmp_path / "out.clip", SynthesizeOptions(num_examples=1, size=96, paste=False, device="cpu"))
    assert open_clip(tmp_path / "out.clip").frame(0).shape == (96, 96, 3)
