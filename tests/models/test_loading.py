"""Loading a model: the weights are those of its file, and are not initialised at random before they are read."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from stages.models import load_model, read_model, save_model
from stages.models.model import _BuildForLoading
from stages.networks.families import build
from stages.networks.fewshot.config import PRESETS

TINY = PRESETS["tiny"]


def test_weights_are_not_initialised_at_random_before_loading_but_seeded_buffers_are():
    before = torch.get_rng_state()
    with _BuildForLoading(1000):
        nn.Conv2d(3, 4, 3)
        seeded = torch.empty(5).normal_(generator=torch.Generator().manual_seed(1))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(seeded, torch.empty(5).normal_(generator=torch.Generator().manual_seed(1)))


def test_a_loaded_model_has_the_weights_of_its_file(tmp_path):
    save_model(tmp_path / "m.safetensors", build(TINY).state_dict(), TINY, {"step": 1})
    loaded, stored = load_model(tmp_path / "m.safetensors").generator.state_dict(), load_file(tmp_path / "m.safetensors")
    assert loaded.keys() == stored.keys()
    assert all(torch.equal(loaded[name], stored[name].float()) for name in stored)


def test_finite_values_whose_sum_is_not_are_read(tmp_path):
    save_model(tmp_path / "m.safetensors", build(TINY).state_dict(), TINY, {"step": 1})
    stored, header = load_file(tmp_path / "m.safetensors"), _header(tmp_path / "m.safetensors")
    large = {name: torch.full_like(value.float(), 3e38) if name == "to_image.bias" else value for name, value in stored.items()}
    save_file(large, tmp_path / "large.safetensors", metadata=header)
    assert (read_model(tmp_path / "large.safetensors")[1]["to_image.bias"] > 1e38).all()


def _header(path: Path) -> dict[str, str]:
    with safe_open(path, framework="pt") as file:
        header: dict[str, str] = file.metadata()
    return header
