"""Recipes: the TOML files with the settings of a training."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from stages.errors import InputError, UsageError
from stages.networks.common.objective import Discriminators
from stages.networks.families import build
from stages.networks.fewshot.config import FewShotConfig
from stages.train import TrainConfig, read_recipe
from stages.train.recipes import FOLDER, names

EXAMPLES = Path(__file__).parents[2] / "examples" / "recipes"


def test_the_presets_are_the_example_recipes():
    assert EXAMPLES.resolve() == FOLDER
    published = {"face-256", "pose-256", "street-256", "paper-face-512", "paper-pose", "paper-street", "compact-face"}
    assert published <= set(names())


@pytest.mark.parametrize("name", names())
def test_each_recipe_begins_with_its_data_command_and_cost(name):
    text = (FOLDER / f"{name}.toml").read_text()
    if name != "tiny":
        assert all(f"# {word}" in text for word in ("Data ", "Command ", "Cost ")) and f"--preset {name}" in text


@pytest.mark.parametrize("name", names())
def test_each_recipe_can_be_stored_and_read_again(name):
    recipe = read_recipe(name)
    assert TrainConfig.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe
    for scale in {phase.scale for phase in recipe.phases}:
        lengths = [phase.frames for phase in recipe.phases if phase.scale == scale]
        assert lengths == sorted(lengths), "windows become longer"


@pytest.mark.parametrize("name", ["face-256", "pose-256", "street-256"])
def test_the_networks_of_the_shipped_models_can_be_built(name):
    recipe = read_recipe(name)
    parameters = sum(p.numel() for p in build(recipe.generator).parameters())
    assert 2 * parameters < 40e6  # bytes in float16
    assert Discriminators(recipe.generator, recipe.discriminators)
    assert all(side % 32 == 0 for phase in recipe.phases for side in recipe.size_of(phase))


def test_a_recipe_file_changes_settings_of_its_base(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text('base = "face-256"\nmax_stride = 2\n[losses]\ngan = 0.1\n[generator]\nattention = "compact"\n[[phases]]\nsteps = 7\n')
    changed, base = read_recipe(str(file)), read_recipe("face-256")
    assert isinstance(changed.generator, FewShotConfig) and isinstance(base.generator, FewShotConfig)
    assert (changed.max_stride, changed.losses.gan, changed.generator.attention, changed.steps) == (2, 0.1, "compact", 7)
    assert (changed.losses.l1, changed.generator.channels) == (base.losses.l1, base.generator.channels)


def test_former_names_of_settings_are_read_with_a_warning(tmp_path, caplog):
    file = tmp_path / "old.toml"
    file.write_text('base = "face-256"\nmost_stride = 2\ngiven = 0.5\n[players]\nfilters = 8\n')
    recipe = read_recipe(str(file))
    assert (recipe.max_stride, recipe.real_past, recipe.discriminators.filters) == (2, 0.5, 8)
    for former, name in (("most_stride", "max_stride"), ("given", "real_past"), ("players", "discriminators")):
        assert f"the setting {former} is called {name} now" in caplog.text
        assert former in recipe.to_json() and name not in recipe.to_json()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stepz = 3\n[[phases]]\nsteps = 1", "unknown settings: stepz"),
        ("[losses]\nlove = 1.0\n[[phases]]\nsteps = 1", "love"),
        ('network = "gpt"\n[[phases]]\nsteps = 1', "there is no network 'gpt'"),
        ('base = "nobody"', "there is no recipe 'nobody'"),
        (
            'base = "face-256"\n[generator]\nwarp_all = false\n[[phases]]\nsteps = 1\nadversarial = false\nmotion_only = true',
            "a phase with motion_only needs frames = 1",
        ),
        ('base = "face-256"\n[[phases]]\nsteps = 1\nmotion_only = true', "a phase with motion_only needs frames = 1"),
        ('base = "face-256"\n[generator]\nsize = [256, 200]', "images of 128x100 cannot be halved 5 times: take multiples of 32"),
    ],
)
def test_wrong_settings_are_named(text, message, tmp_path):
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(UsageError, match=message):
        read_recipe(str(tmp_path / "mine.toml"))


def test_a_recipe_may_begin_with_a_byte_order_mark(tmp_path):
    (tmp_path / "mine.toml").write_text('\ufeffbase = "tiny"', encoding="utf-8")
    assert read_recipe(str(tmp_path / "mine.toml")) == read_recipe("tiny")


def test_a_file_that_is_not_toml_is_named(tmp_path):
    (tmp_path / "mine.toml").write_text("steps: 3")
    with pytest.raises(InputError, match=r"mine\.toml cannot be read"):
        read_recipe(str(tmp_path / "mine.toml"))


def test_the_papers_discriminators_have_the_size_of_the_public_codes():
    recipe = read_recipe("paper")
    discriminators = Discriminators(recipe.generator, recipe.discriminators)
    for discriminator in (discriminators.image, *discriminators.videos):
        assert sum(p.numel() for p in discriminator.parameters()) == pytest.approx(2.80e6, rel=0.01)


@pytest.mark.parametrize("name", ["vid2vid-street-512", "vid2vid-face", "pix2pixhd"])
def test_the_discriminators_of_2018_have_the_layers_of_the_public_code(name):
    """4x4 convolutions to 64, 128, 256 (stride 2), 512 and 1 channels (stride 1)."""
    recipe = read_recipe(name)
    discriminators = Discriminators(recipe.generator, recipe.discriminators)
    channels = [3 + recipe.generator.semantic_channels, *[3 * 3 + 2 * 2] * recipe.discriminators.video_rates]
    for inputs, discriminator in zip(channels, (discriminators.image, *discriminators.videos), strict=True):
        widths = [inputs, 64, 128, 256, 512, 1]
        parameters = sum(16 * a * b + b for a, b in itertools.pairwise(widths))
        assert sum(p.numel() for p in discriminator.parameters()) == recipe.discriminators.scales * parameters
        first = discriminator.scales[0].layers
        assert [layer.stride[0] for layer in first] == [2, 2, 2, 1, 1]
