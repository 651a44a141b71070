"""finetune: the image branch learns the examples, and the flow networks do not change."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from stages.clip import Producer, open_clip
from stages.conditions.framing import examples_of, frame_of
from stages.errors import ParametersDiffer, UsageError
from stages.finetune import FinetuneOptions, TuneOptions, finetune
from stages.models import load_model, read_model
from stages.networks.fewshot.config import PRESETS
from stages.networks.fewshot.generator import FewShotGenerator

TINY = PRESETS["tiny"]
SHORT = FinetuneOptions(TuneOptions(steps=8, learning_rate=2e-3), crop="none", perceptual="none", device="cpu")


def test_only_the_weight_generator_and_the_image_branch_change(base, person, tmp_path):
    before = {name: value.clone() for name, value in base.generator.state_dict().items()}
    assert finetune([person], base, tmp_path / "tuned.safetensors", SHORT) == "done"
    after = load_model(tmp_path / "tuned.safetensors").generator.state_dict()

    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"weight_generator", "blocks", "to_image"}
    assert all(torch.equal(value, before[name]) for name, value in base.generator.state_dict().items())  # the base model does not change


def test_examples_with_another_number_of_channels_are_refused(base, person, tmp_path):
    fewer = replace(base, generator=FewShotGenerator(replace(TINY, semantic_channels=3)))
    with pytest.raises(UsageError, match="have 7 channels, the model expects 3"):
        finetune([person], fewer, tmp_path / "tuned.safetensors", SHORT)


def test_finetuning_reduces_the_error_on_the_examples(base, person, tmp_path):
    samples = [example.sample for example in examples_of(person, "landmarks", TINY.size, "none", 4)]
    frames = frame_of(samples, torch.device("cpu"))

    def error(model):
        with torch.no_grad():
            code = model.generator.encode_examples(frames.map(lambda x: x[:, None]))
            return float((model.generator.synthesize(code, frames).raw - frames.required_image).abs().mean())

    untuned = error(base)
    finetune([person], base, tmp_path / "tuned.safetensors", SHORT)
    assert error(load_model(tmp_path / "tuned.safetensors")) < untuned


def test_a_second_run_is_skipped_and_other_settings_are_refused(base, person, tmp_path):
    out = tmp_path / "tuned.safetensors"
    finetune([person], base, out, SHORT)
    assert finetune([person], load_model(base.path), out, SHORT) == "skipped"
    with pytest.raises(ParametersDiffer, match="tuning.steps: 8 -> 9"):
        finetune([person], load_model(base.path), out, replace(SHORT, tuning=TuneOptions(steps=9)))
    with pytest.raises(ParametersDiffer, match="whole: false -> true"):
        finetune([person], load_model(base.path), out, replace(SHORT, whole=True))
    with pytest.raises(ParametersDiffer, match='perceptual: "none" -> "squeezenet"'):
        finetune([person], load_model(base.path), out, replace(SHORT, perceptual="squeezenet"))
    with person.writing("landmarks", Producer("test"), {}) as layer:
        layer.arrays(points=person.layer("landmarks").arrays()["points"] + 1)
    with pytest.raises(ParametersDiffer, match="layers:"):
        finetune([open_clip(person.path)], load_model(base.path), out, SHORT)


def test_a_second_process_that_writes_the_same_model_is_refused(base, person, tmp_path):
    def start_second(step, loss):
        with pytest.raises(UsageError, match="is being made by another process"):
            finetune([person], base, tmp_path / "tuned.safetensors", SHORT)

    assert finetune([person], base, tmp_path / "tuned.safetensors", SHORT, on_step=start_second) == "done"


def test_two_runs_give_the_same_weights(base, person, tmp_path):
    for name in ("a", "b"):
        finetune([person], load_model(base.path), tmp_path / f"{name}.safetensors", SHORT)
    (_, a), (_, b) = (read_model(tmp_path / f"{name}.safetensors") for name in ("a", "b"))
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_the_command_prints_the_path_of_the_model(base, person, tmp_path, fsv2v):
    command = ["finetune", "--model", base.path, "--examples", person.path, "--steps", 2, "--perceptual", "none", "--device", "cpu"]
    done = fsv2v(*command, "-o", tmp_path / "tuned.safetensors")
    assert done.exit_code == 0 and done.lines == [str(tmp_path / "tuned.safetensors")]
    assert read_model(tmp_path / "tuned.safetensors")[0]["finetuning"]["tuning"]["steps"] == 2
