"""A model for the tests of `synthesize`."""

from __future__ import annotations

import pytest
import torch

from stages.models import Model, load_model, save_model
from stages.networks.fewshot.config import PRESETS
from stages.networks.fewshot.generator import FewShotGenerator


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """An untrained few-shot model of 64x64 images."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save_model(path, FewShotGenerator(PRESETS["tiny"]).state_dict(), PRESETS["tiny"], {"step": 0})
    return load_model(path)
