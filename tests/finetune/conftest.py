"""A small model, and a painted person for finetuning."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from stages.clip import Clip, open_clip
from stages.models import Model, load_model, save_model
from stages.networks.fewshot.config import PRESETS
from stages.networks.fewshot.generator import FewShotGenerator


@pytest.fixture
def base(tmp_path: Path) -> Model:
    """An untrained few-shot model in run/base.safetensors."""
    torch.manual_seed(0)
    path = tmp_path / "run" / "base.safetensors"
    save_model(path, FewShotGenerator(PRESETS["tiny"]).state_dict(), PRESETS["tiny"], {"step": 0})
    return load_model(path)


@pytest.fixture
def person(tmp_path: Path, make_painted_clip: Callable[..., Path]) -> Clip:
    """A clip of a painted head with landmarks."""
    return open_clip(make_painted_clip(tmp_path / "person.clip", 0))
