"""Families of generators: their protocol and registry, and pix2pixHD, a family without examples."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from stages.clip import open_clip
from stages.errors import UsageError
from stages.finetune import FinetuneOptions, finetune
from stages.models import load_model, save_model
from stages.networks import families
from stages.networks.common.discriminator_inputs import History
from stages.networks.common.family import Family
from stages.networks.common.frame import Frame
from stages.networks.common.inference import InferenceOptions, Renderer
from stages.networks.common.objective import Discriminators, Target
from stages.networks.fewshot.config import PRESETS as FEW_SHOT
from stages.networks.fewshot.config import FewShotConfig
from stages.networks.fewshot.generator import FewShotGenerator
from stages.networks.pix2pixhd.config import PRESETS, Pix2PixHDConfig
from stages.networks.pix2pixhd.generator import Pix2PixHD
from stages.synthesize import SynthesizeOptions, synthesize
from stages.train import LoggingSettings, Phase, TrainOptions, read_recipe, train


def pix2pixhd_preset(name: str) -> Pix2PixHDConfig:
    config = PRESETS[name]
    assert isinstance(config, Pix2PixHDConfig)
    return config


TINY = pix2pixhd_preset("tiny-pix2pixhd")
CITYSCAPES_CHANNELS = 36
"""Channels of s_t: the labels of Cityscapes and the edges between instances."""


def driving_frames(batch: int = 2, config: Pix2PixHDConfig = TINY, seed: int = 0) -> Frame:
    """Random driving frames [B, ...] without keypoints."""
    rng = torch.Generator().manual_seed(seed)
    return Frame(torch.rand(batch, config.semantic_channels, *config.size, generator=rng), torch.zeros(batch, 0, 3))


def make_network(config: Pix2PixHDConfig = TINY) -> Pix2PixHD:
    torch.manual_seed(0)
    return Pix2PixHD(config).eval()


# the protocol


def test_a_stored_configuration_names_its_family_and_few_shot_is_the_default():
    for config in (TINY, FEW_SHOT["tiny"]):
        assert families.config_from_json(json.loads(json.dumps(config.to_json()))) == config
    assert "family" not in FEW_SHOT["tiny"].to_json() and TINY.to_json()["family"] == "pix2pixhd"


def test_an_unknown_family_is_named():
    with pytest.raises(TypeError, match="'cyclegan'.*few-shot"):
        families.config_from_json({"family": "cyclegan"})


def test_no_two_families_share_the_name_of_a_preset():
    names = [name for family in families._FAMILIES.all().values() for name in family.presets]
    assert len(names) == len(set(names)) and set(names) <= families.presets().keys()


def test_a_registered_family_can_be_trained_and_loaded(painted_dataset, tmp_path, monkeypatch):
    @dataclass(frozen=True)
    class PlainConfig(FewShotConfig):
        family: ClassVar[str] = "plain"

    class Plain(FewShotGenerator):
        """The generator of another package."""

    monkeypatch.setattr(families._FAMILIES, "_records", families._FAMILIES.all())
    families.register(Family(PlainConfig, Plain))
    recipe = replace(read_recipe("tiny"), perceptual="none", phases=(Phase(1, batch=2),))
    recipe = replace(recipe, generator=families.as_family(recipe.generator, "plain"))
    train(recipe, TrainOptions(painted_dataset, "cpu", LoggingSettings(1, 0)), tmp_path / "run")
    assert type(load_model(tmp_path / "run").generator) is Plain


def test_a_family_may_still_define_its_settings_by_their_former_names():
    class Former(Pix2PixHDConfig):
        @property
        def shows(self) -> tuple[str, ...]:
            return ("result", "mask")

        def trains_motion_alone(self, max_examples: int) -> bool:
            return max_examples == 1

    class Derived(Former):
        @property
        def show_choices(self) -> tuple[str, ...]:
            return ("raw",)

    assert Former().show_choices == ("result", "mask") and Derived().show_choices == ("raw",)
    assert Former().can_train_motion_only(1) and not Derived().can_train_motion_only(2)
    assert Pix2PixHDConfig().show_choices == ("result",)


def test_a_family_is_found_by_the_entry_point_of_its_package(tmp_path):
    """The package has the files that `pip install --target` would write."""
    (tmp_path / "otherpackage.py").write_text(
        "from dataclasses import dataclass\nfrom typing import ClassVar\n"
        "from stages.networks.common.family import Family\n"
        "from stages.networks.pix2pixhd import Pix2PixHD, Pix2PixHDConfig\n"
        "@dataclass(frozen=True)\nclass Config(Pix2PixHDConfig):\n    family: ClassVar[str] = 'other'\n"
        "FAMILY = Family(Config, Pix2PixHD, {'other-preset': Config()})\n"
    )
    metadata = tmp_path / "otherpackage-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: otherpackage\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[fsv2v.families]\nother = otherpackage:FAMILY\n")
    code = "from stages.networks import families; print(families.find('other').name, 'other-preset' in families.presets())"
    root = Path(__file__).resolve().parents[2]
    result = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = [{str(root)!r}, {str(tmp_path)!r}]; {code}"], capture_output=True, text=True
    )
    assert result.stdout.split() == ["other", "True"], result.stderr


# pix2pixHD


@pytest.mark.parametrize(("name", "millions"), [("pix2pixhd", 182.5), ("pix2pixhd-2048", 182.9)])
def test_pix2pixhd_has_as_many_parameters_as_the_public_code(name, millions):
    with torch.device("meta"):
        network = Pix2PixHD(replace(pix2pixhd_preset(name), semantic_channels=CITYSCAPES_CHANNELS))
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(millions, rel=0.001)


def test_pix2pixhd_costs_as_much_as_the_public_code():
    from torch.utils.flop_counter import FlopCounterMode

    config = replace(pix2pixhd_preset("pix2pixhd"), semantic_channels=CITYSCAPES_CHANNELS)
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        network = Pix2PixHD(config)
        network.synthesize(network.encode_examples(None), Frame(torch.zeros(1, CITYSCAPES_CHANNELS, *config.size), torch.zeros(1, 0, 3)))
    assert counter.get_total_flops() / 2 == pytest.approx(489e9, rel=0.01)


def test_frames_depend_on_their_own_semantic_image_alone():
    network, driving = make_network(), driving_frames()
    frame, past = network.step(network.encode_examples(None), driving)
    again, _ = network.step(network.encode_examples(None), driving, replace(past, image=-past.required_image))
    alone, _ = network.step(network.encode_examples(None), driving.map(lambda x: x[1:]))
    assert frame.shape == (2, 3, 64, 64) and frame.abs().max() <= 1
    assert torch.equal(frame, again) and torch.allclose(frame[1:], alone, atol=1e-5)


def test_an_enhancer_adds_the_features_of_the_coarse_network_to_its_own():
    config = replace(TINY, enhancers=1, filters=8)
    network, driving = make_network(config), driving_frames(1, config)
    enhancer: Any = network.enhancers[0]
    half = F.avg_pool2d(driving.semantic, 3, 2, 1, count_include_pad=False)
    expected = torch.tanh(network.to_image(enhancer.up(enhancer.down(driving.semantic) + network.coarse(half))))
    assert torch.allclose(network.synthesize(network.encode_examples(None), driving).frame, expected, atol=1e-6)


def test_every_weight_gets_a_gradient():
    network = make_network(replace(TINY, enhancers=1, filters=8)).train()
    network.synthesize(network.encode_examples(None), driving_frames()).frame.square().mean().backward()
    without_gradient = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert without_gradient == []


def test_the_discriminators_of_pix2pixhd_see_no_example():
    discriminators = Discriminators(TINY)
    frame = replace(driving_frames(), image=torch.zeros(2, 3, 64, 64))
    target = Target(frame, frame.map(lambda x: x[:, None]))
    first = discriminators.get_submodule("image.scales.0.layers.0")
    assert first.in_channels == 3 + TINY.semantic_channels
    assert discriminators.generator_terms(target, frame.required_image, past=History([], [], [])).keys() == {"gan", "feature_matching"}


def test_the_renderer_of_pix2pixhd_makes_the_same_frames():
    network, driving = make_network(), driving_frames(1)
    renderer = Renderer(network, InferenceOptions("fp32"))
    code = renderer.encode_examples(None)
    frame, past = renderer.step(code, driving)
    with torch.no_grad():
        assert torch.allclose(frame, network.step(None, driving)[0], atol=1e-5)
    assert past.required_image is not None and renderer.select_examples(code, [0]) is code


@pytest.fixture(scope="module")
def run(painted_dataset, tmp_path_factory) -> Path:
    """A short training of the tiny network, with single frames and then with windows."""
    out = tmp_path_factory.mktemp("pix2pixhd") / "run"
    phases = (Phase(2, batch=2), Phase(1, batch=2, frames=2))
    recipe = replace(read_recipe("pix2pixhd"), generator=TINY, phases=phases, perceptual="none")
    recipe = replace(recipe, discriminators=replace(recipe.discriminators, filters=8))
    train(recipe, TrainOptions(painted_dataset, "cpu", LoggingSettings(1, 0)), out)
    return out


def test_pix2pixhd_is_trained_with_its_own_terms(run):
    rows = [json.loads(line) for line in (run / "log.ndjson").read_text().splitlines()]
    terms = [row for row in rows if "gan" in row][-1]
    assert {"gan", "feature_matching", "discriminator"} <= terms.keys() and not {"l1", "warp", "keypoint", "flow"} & terms.keys()
    assert all(np.isfinite(value) for value in terms.values())
    assert (run / "samples" / "00000003.png").exists()


def test_pix2pixhd_makes_a_video_without_examples(run, painted_driver, tmp_path, fsv2v):
    command = ["synthesize", "--driving", painted_driver.path, "--model", run, "--crop", "none", "--device", "cpu"]
    result = fsv2v(*command, cwd=tmp_path)
    assert result.exit_code == 0, result.stderr
    assert Path(result.stdout.strip()).name == f"{painted_driver.id}.mp4" and "example" not in result.stderr
    assert fsv2v(*command, cwd=tmp_path).exit_code == 0  # skipped


def test_examples_for_pix2pixhd_and_a_few_shot_model_without_examples_are_refused(run, painted_driver, tmp_path, fsv2v):
    for options, message in (
        (["--model", run, "--examples", painted_driver.path], "pix2pixhd uses no examples"),
        (["--model", run, "--finetune", 3], "cannot be finetuned on examples"),
        (["--model", run, "--attention", "pixel"], "has no setting attention"),
        (["--model", run, "--show", "warp"], "does not make the image warp"),
        ([], "--examples"),
    ):
        result = fsv2v("synthesize", "--driving", painted_driver.path, "-o", "out.mp4", *options, cwd=tmp_path)
        assert result.exit_code == 2 and message in result.stderr, result.stderr
    assert not (tmp_path / "out.mp4").exists()


def test_a_few_shot_model_needs_an_example(painted_driver, tmp_path):
    config = FEW_SHOT["tiny"]
    save_model(tmp_path / "tiny.safetensors", FewShotGenerator(config).state_dict(), config, {"step": 0})
    with pytest.raises(UsageError, match="there is no example"):
        synthesize([], painted_driver, load_model(tmp_path / "tiny.safetensors"), tmp_path / "out.mp4", SynthesizeOptions(device="cpu"))


def test_pix2pixhd_cannot_be_finetuned(run, painted_driver, tmp_path):
    with pytest.raises(UsageError, match="cannot be finetuned on examples"):
        finetune([painted_driver], load_model(run), tmp_path / "finetuned.safetensors", FinetuneOptions(device="cpu"))


@pytest.fixture(scope="module")
def painted_driver(tmp_path_factory, make_painted_clip):
    return open_clip(make_painted_clip(tmp_path_factory.mktemp("clips") / "driver.clip", 1, num_frames=4))
