"""A model as it is used: a generator, and what its file says about it."""

from __future__ import annotations

import dataclasses
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from stages.errors import DAMAGED, InputError, MissingRequirement
from stages.io.digests import file_sha256
from stages.models.bases import find_base
from stages.models.files import base_of, read_model, save_model
from stages.networks.common.config import GeneratorConfig
from stages.networks.common.generator import Generator
from stages.networks.families import build, config_from_json

SPARE = 1 << 24
"""Numbers that a network may take beyond those in its file: buffers, and what is needed for a moment."""

__all__ = ["Model", "find_model", "load_model", "read_model", "save_model"]


@dataclass(frozen=True)
class Model:
    """A loaded generator, in evaluation mode, and what its file says about it."""

    generator: Generator
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

    def attending(self, attention: str) -> Model:
        """The same weights with another kind of attention: keys and values are the same for both, only what is kept of them differs.

        Raises UsageError where the family has none.
        """
        config = self.config.with_values(attention=attention)
        if config == self.config:
            return self
        generator = build(config)
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
        config = config_from_json(info["generator"])
        with _Within(SPARE + 4 * sum(tensor.numel() for tensor in tensors.values())):  # weights, and what they are drawn from
            generator = build(config)
        generator.load_state_dict(tensors)
    except (*DAMAGED, ArithmeticError, AssertionError) as error:
        first = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(f"{path} does not fit the network that its header describes: {first}", hint="Train or fetch it again") from error
    return Model(generator.eval().requires_grad_(False), info, path, file_sha256(path), whole)


class _Within(TorchFunctionMode):
    """Within, ValueError for networks of more than `numbers`, before their memory is taken: a header may describe one of any size."""

    def __init__(self, numbers: int) -> None:
        super().__init__()
        self._left = numbers

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (torch.empty, torch.zeros, torch.ones, torch.randn):
            size = (kwargs or {}).get("size", args)
            self._left -= math.prod(size[0] if size and not isinstance(size[0], int) else size)
            if self._left < 0:
                raise ValueError("it is larger than what the file holds")
        return func(*args, **(kwargs or {}))


def _added(tensors: dict[str, Tensor], changes: dict[str, Tensor]) -> dict[str, Tensor]:
    """A change of a tensor that the base has not is kept as it is: such a model does not fit, and says so."""
    return tensors | {name: tensors[name] + change if name in tensors else change for name, change in changes.items()}


def find_model(path: Path) -> Path:
    """A run's folder stands for its newest snapshot."""
    if not path.is_dir():
        return path
    snapshots = sorted(path.glob("snapshot-*.safetensors"))
    if not snapshots:
        raise MissingRequirement(f"{path} holds no model yet", code="run-without-model", facts={"run": os.fspath(path)})
    return snapshots[-1]
