"""Finetuning writes a delta: a small file that needs its base and identifies it by its digest."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from stages.conditions.finetune_batches import finetune_batches
from stages.conditions.framing import examples_of
from stages.errors import InputError, MissingRequirement, UsageError
from stages.finetune import FinetuneOptions, TuneOptions, finetune
from stages.models import Model, load_model
from stages.models.files import Base, base_of, read_model, save_delta, save_model
from stages.networks.common.tuning import tune
from weights import registry

SHORT = FinetuneOptions(TuneOptions(steps=3, learning_rate=2e-3), crop="none", perceptual="none", device="cpu")


@pytest.fixture
def delta(base: Model, person, tmp_path: Path) -> Path:
    """The file of a delta of `base`."""
    finetune([person], load_model(base.path), tmp_path / "anna.safetensors", SHORT)
    return tmp_path / "anna.safetensors"


@pytest.fixture(autouse=True)
def no_other_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FSV2V_WEIGHTS", str(tmp_path / "cache"))
    monkeypatch.setenv("FSV2V_WEIGHTS_MIRROR", str(tmp_path / "mirror"))


def weights(model: Model) -> dict[str, torch.Tensor]:
    return model.generator.state_dict()


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_a_delta_contains_only_changed_tensors_and_names_its_base(delta: Path, base: Model):
    info, changes = read_model(delta)
    assert {name.split(".")[0] for name in changes} == {"weight_generator", "blocks", "to_image"}
    assert set(changes) <= set(info["tuned"])
    assert base_of(info) == Base(base.sha256, "base.safetensors", "run/base.safetensors")


def test_a_delta_and_its_base_give_the_finetuned_model_in_float16_precision(base: Model, person, tmp_path: Path):
    tuned, examples = load_model(base.path), examples_of(person, base.config.kind, base.config.size, "none", SHORT.num_examples)
    tune(tuned.generator, finetune_batches(examples, SHORT.tuning.batch, SHORT.tuning.seed, torch.device("cpu")), SHORT.tuning, None)
    finetune([person], base, tmp_path / "anna.safetensors", SHORT)
    before, exact, again = weights(base), weights(tuned), weights(load_model(tmp_path / "anna.safetensors"))
    for name in exact:
        assert torch.allclose(again[name] - before[name], exact[name] - before[name], rtol=1e-3, atol=1e-7)


def test_a_whole_model_needs_no_base(base: Model, person, tmp_path: Path):
    finetune([person], load_model(base.path), tmp_path / "anna.safetensors", replace(SHORT, whole=True))
    base.path.unlink()
    assert base_of(load_model(tmp_path / "anna.safetensors").info) is None


@pytest.mark.parametrize("location", ["with its run", "beside", "mirror", "cache"])
def test_a_base_that_was_moved_is_found(location: str, delta: Path, base: Model, tmp_path: Path):
    expected = weights(load_model(delta))
    if location == "with its run":
        (tmp_path / "moved").mkdir()
        shutil.move(base.path.parent, tmp_path / "moved" / "run")
        delta = Path(shutil.move(delta, tmp_path / "moved"))
    else:
        folder = tmp_path if location == "beside" else tmp_path / location
        folder.mkdir(exist_ok=True)
        shutil.move(base.path, folder / "base.safetensors")
    assert equal(weights(load_model(delta)), expected)


def test_a_base_of_another_name_can_be_passed(delta: Path, base: Model, tmp_path: Path):
    expected = weights(load_model(delta))
    elsewhere = Path(shutil.move(base.path, tmp_path / "elsewhere.safetensors"))
    assert equal(weights(load_model(delta, elsewhere)), expected)


def test_a_missing_base_is_reported_with_its_digest_and_a_remedy(delta: Path, base: Model):
    base.path.unlink()
    with pytest.raises(MissingRequirement, match=f"base.safetensors with the sha256 {base.sha256}.*FSV2V_WEIGHTS_MIRROR"):
        load_model(delta)


def test_another_file_with_the_name_of_the_base_is_refused(delta: Path, base: Model):
    save_model(base.path, weights(base), base.config, {"step": 1})
    with pytest.raises(MissingRequirement, match="base.safetensors is another file"):
        load_model(delta)
    with pytest.raises(InputError, match="is not the base of"):
        load_model(delta, base.path)


def test_a_delta_of_shipped_weights_loads_on_any_machine(tmp_path: Path):
    shipped = load_model(registry.path("face-256.safetensors"))
    changed = weights(shipped) | {"to_image.bias": weights(shipped)["to_image.bias"] + 0.5}
    base = Base(shipped.sha256, "face-256.safetensors")
    save_delta(tmp_path / "anna.safetensors", changed, base, weights(shipped), shipped.config, shipped.info)
    assert (tmp_path / "anna.safetensors").stat().st_size < 20_000
    assert equal(weights(load_model(tmp_path / "anna.safetensors")), changed)


def test_finetuning_a_delta_again_gives_a_delta_of_the_same_base(delta: Path, base: Model, person, tmp_path: Path):
    finetune([person], load_model(delta), tmp_path / "whole.safetensors", replace(SHORT, whole=True))
    finetune([person], load_model(delta), tmp_path / "again.safetensors", SHORT)
    delta.unlink()
    assert base_of(read_model(tmp_path / "again.safetensors")[0]) == Base(base.sha256, "base.safetensors", "run/base.safetensors")
    again, whole = (weights(load_model(tmp_path / f"{name}.safetensors"))["to_image.bias"] for name in ("again", "whole"))
    assert torch.allclose(again, whole, rtol=1e-3)


def test_a_delta_never_replaces_its_own_base(base: Model, person):
    with pytest.raises(UsageError, match="is the base"):
        finetune([person], load_model(base.path), base.path, SHORT, overwrite=True)
    assert load_model(base.path).sha256 == base.sha256


def test_the_command_says_that_the_base_must_be_kept_and_synthesize_takes_the_delta(base: Model, person, tmp_path: Path, fsv2v):
    common = ["--examples", person.path, "--device", "cpu"]
    tuned = fsv2v("finetune", *common, "--model", base.path, "--steps", 1, "--perceptual", "none", "-o", tmp_path / "anna.safetensors")
    assert tuned.exit_code == 0 and "keep that file, or write a whole model with --whole" in tuned.stderr
    result = fsv2v("synthesize", *common, "--driving", person.path, "--model", tmp_path / "anna.safetensors", "-o", tmp_path / "anna.clip")
    assert result.exit_code == 0 and (tmp_path / "anna.clip").is_dir()
    base.path.unlink()
    missing = fsv2v("synthesize", *common, "--driving", person.path, "--model", tmp_path / "anna.safetensors", "-o", tmp_path / "b.clip")
    assert missing.exit_code == 4 and base.sha256 in missing.stderr and not (tmp_path / "b.clip").exists()
