"""A model as it is used: a generator, and what its file says about it."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from stages.clip.create import file_sha256
from stages.errors import DAMAGED, InputError, MissingRequirement
from stages.models.bases import find_base
from stages.models.files import base_of, read_model, save_model
from stages.networks.config import AttentionKind, GeneratorConfig
from stages.networks.generator import FewShotGenerator
from stages.networks.methods import build

__all__ = ["Model", "find_model", "load_model", "read_model", "save_model"]


@dataclass(frozen=True)
class Model:
    """A loaded generator, in evaluation mode, and what its file says about it."""

    generator: FewShotGenerator
    info: dict[str, Any]
    path: Path
    sha256: str
    """Of the file `path`; as a delta names its base, it stands for all weights."""
    whole: Path
    """The file that holds every tensor: `path`, or the base of the delta there."""

    @property
    def config(self) -> GeneratorConfig:
        return self.generator.config

    @property
    def whole_sha256(self) -> str:
        base = base_of(self.info)
        return self.sha256 if base is None else base.sha256

    def attending(self, attention: AttentionKind) -> Model:
        """The same weights with the other kind of attention: keys and values are the same, only what is remembered of them differs."""
        if attention == self.config.attention:
            return self
        generator = build(dataclasses.replace(self.config, attention=attention))
        generator.load_state_dict(self.generator.state_dict())
        return dataclasses.replace(self, generator=generator.eval().requires_grad_(False))


def load_model(path: Path, base: Path | None = None) -> Model:
    """A model file, or the newest snapshot of a run's folder, as a generator in evaluation mode.

    A delta is added to its base, which is `base` or is looked for (`find_base`). Raises MissingRequirement for a file that is not there,
    InputError for one that is no model.
    """
    path = find_model(path)
    info, tensors = read_model(path)
    whole = path
    if (wanted := base_of(info)) is not None:
        whole = find_base(wanted, path, base)
        tensors = _added(read_model(whole)[1], tensors)
    try:
        config = GeneratorConfig.from_json(info["generator"])
        _require_shapes(config, tensors)
        generator = build(config)
        generator.load_state_dict(tensors)
    except (*DAMAGED, ArithmeticError, AssertionError) as error:
        first = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(f"{path} does not fit the network that its header describes: {first}", hint="train or fetch it again") from error
    return Model(generator.eval().requires_grad_(False), info, path, file_sha256(path), whole)


class _Undrawn(TorchFunctionMode):
    """Within, weights stay as they are instead of being drawn: on the device meta PyTorch would load its compiler for that, for seconds."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return args[0] if func in (Tensor.normal_, Tensor.uniform_) else func(*args, **(kwargs or {}))


def _require_shapes(config: GeneratorConfig, tensors: dict[str, Tensor]) -> None:
    """ValueError unless the network has these tensors. It is built without memory first: its header may describe one of any size."""
    with torch.device("meta"), _Undrawn():
        shapes = {name: tensor.shape for name, tensor in build(config).state_dict().items()}
    found = {name: tensor.shape for name, tensor in tensors.items()}
    if wrong := [name for name in {**shapes, **found} if shapes.get(name) != found.get(name)]:
        raise ValueError(f"{len(wrong)} tensors differ, such as {wrong[0]}")


def _added(tensors: dict[str, Tensor], changes: dict[str, Tensor]) -> dict[str, Tensor]:
    """A change of a tensor that the base has not is kept as it is: such a model does not fit, and says so."""
    return tensors | {name: tensors[name] + change if name in tensors else change for name, change in changes.items()}


def find_model(path: Path) -> Path:
    """A run's folder stands for its newest snapshot."""
    if not path.is_dir():
        return path
    snapshots = sorted(path.glob("snapshot-*.safetensors"))
    if not snapshots:
        raise MissingRequirement(f"{path} holds no model yet", hint=f"go on with `fsv2v train ... -o {os.fspath(path)}`")
    return snapshots[-1]
