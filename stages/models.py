"""A model is one file: NAME.safetensors, its configuration as JSON in the header. Nothing in it can run code."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from stages.clip.create import file_sha256
from stages.errors import BadInput, MissingRequirement
from stages.files import write_atomically
from stages.networks.config import AttentionKind, GeneratorConfig
from stages.networks.generator import FewShotGenerator

HEADER = "fsv2v.model"
SCHEMA = "fsv2v.model/1"


@dataclass(frozen=True)
class Model:
    """A loaded generator, in evaluation mode, and what its file says about it."""

    generator: FewShotGenerator
    info: dict[str, Any]
    path: Path
    sha256: str

    @property
    def config(self) -> GeneratorConfig:
        return self.generator.config

    def attending(self, attention: AttentionKind) -> Model:
        """The same weights with the other kind of attention: keys and values are the same, only what is remembered of them differs."""
        if attention == self.config.attention:
            return self
        generator = FewShotGenerator(dataclasses.replace(self.config, attention=attention))
        generator.load_state_dict(self.generator.state_dict())
        return dataclasses.replace(self, generator=generator.eval().requires_grad_(False))


def save_model(path: Path, tensors: Mapping[str, Tensor], config: GeneratorConfig, info: Mapping[str, Any]) -> None:
    """Write a model atomically, as float16: it is for use, while a run's state keeps full precision.

    info: training configuration, step, and the like.
    """
    kept = {name: value.detach().to("cpu", torch.float16).contiguous() for name, value in tensors.items()}
    header = {**info, "schema": SCHEMA, "generator": config.to_json()}
    write_atomically(path, save(kept, metadata={HEADER: json.dumps(header, sort_keys=True)}))


def read_model(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The header and the tensors (float32) of a model file. BadInput when the file is not a model of this program."""
    try:
        with safe_open(path, framework="pt") as file:
            header = (file.metadata() or {}).get(HEADER)
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except FileNotFoundError:
        raise MissingRequirement(f"the model {path} is not there", hint="name a .safetensors file or a run's folder with --model") from None
    except (SafetensorError, OSError) as error:
        raise BadInput(f"{path} is not a readable model: {error}", hint="fetch or train it again") from error
    if header is None:
        raise BadInput(f"{path} holds weights of something else, not of an fsv2v model", hint="name a model that `fsv2v train` made")
    info = json.loads(header)
    if info.get("schema") != SCHEMA:
        raise BadInput(f"{path} has the model format {info.get('schema')}, this version reads {SCHEMA}", hint="update fsv2v")
    return info, tensors


def load_model(path: Path) -> Model:
    """A model file, or the newest snapshot of a run's folder, as a generator in evaluation mode."""
    path = find_model(path)
    info, tensors = read_model(path)
    try:
        generator = FewShotGenerator(GeneratorConfig.from_json(info["generator"]))
        generator.load_state_dict(tensors)
    except (KeyError, TypeError, RuntimeError) as error:
        first = str(error).splitlines()[0]
        raise BadInput(f"{path} does not fit the network that its header describes: {first}", hint="train or fetch it again") from error
    return Model(generator.eval().requires_grad_(False), info, path, file_sha256(path))


def find_model(path: Path) -> Path:
    """A run's folder stands for its newest snapshot."""
    if not path.is_dir():
        return path
    snapshots = sorted(path.glob("snapshot-*.safetensors"))
    if not snapshots:
        raise MissingRequirement(f"{path} holds no model yet", hint=f"go on with `fsv2v train ... -o {os.fspath(path)}`")
    return snapshots[-1]
