"""A loaded model: a generator, and the information in its file."""

from __future__ import annotations

import dataclasses
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from stages.errors import READ_ERRORS, InputError, MissingRequirement
from stages.models.bases import find_base
from stages.models.files import Base, base_of, read_model, save_model
from stages.networks.common.config import GeneratorConfig
from stages.networks.common.generator import Generator
from stages.networks.families import build, config_from_json
from weights import registry

SPARE_ELEMENTS = 1 << 24
"""Elements that building a network may allocate beyond those in its file: buffers and temporary tensors."""
RANDOM_INIT = (nn.init.kaiming_uniform_, nn.init.uniform_, nn.init.normal_, torch.Tensor.uniform_, torch.Tensor.normal_)
"""Functions that fill a tensor with random numbers."""

ENHANCES = "enhances the images of"
"""The relation of a model to its `GeneratorConfig.base_model`."""

__all__ = ["Model", "find_model", "load_base", "load_model", "read_model", "save_model"]


@dataclass(frozen=True)
class Model:
    """A loaded generator, in evaluation mode, and the information in its file."""

    generator: Generator
    info: dict[str, Any]
    path: Path
    sha256: str
    """sha256 of the file `path`. It identifies all weights, since a delta names its base by sha256."""
    whole: Path
    """The file with every tensor: `path`, or, if that is a delta, its base."""

    @property
    def config(self) -> GeneratorConfig:
        return self.generator.config

    @property
    def whole_sha256(self) -> str:
        base = base_of(self.info)
        return self.sha256 if base is None else base.sha256

    def with_attention(self, attention: str) -> Model:
        """The same weights with another kind of attention. Both kinds compute the same keys and values and differ in what they store.

        Raises UsageError when the family has no attention.
        """
        config = self.config.with_values(attention=attention)
        if config == self.config:
            return self
        generator = build(config)
        generator.load_state_dict(self.generator.state_dict())
        return dataclasses.replace(self, generator=generator.eval().requires_grad_(False))


def load_model(path: Path, base: Path | None = None) -> Model:
    """A model file, or the newest snapshot of a run's folder, as a generator in evaluation mode.

    A delta is added to its base; a model with a `base_model` works on top of that model. Either is the file `base`, if given, or else the
    one that `find_base` finds. Raises MissingRequirement for a missing file, InputError for a file that is not a model.
    """
    path = find_model(path)
    info, tensors = read_model(path)
    whole = path
    if (wanted := base_of(info)) is not None:
        whole = find_base(wanted, path, base)
        tensors = _add_delta(read_model(whole)[1], tensors)
    try:
        config = config_from_json(info["generator"])
        # 4 times the weights, since their initialisation allocates temporary tensors
        with _BuildForLoading(SPARE_ELEMENTS + 4 * sum(tensor.numel() for tensor in tensors.values())):
            generator = build(config)
        generator.load_state_dict(tensors)
        if (needed := config.base_model) is not None:
            file = find_base(Base(needed.sha256, needed.name, os.path.abspath(needed.name)), path, base, ENHANCES)
            generator.attach_base(load_model(file).generator)
    except (*READ_ERRORS, ArithmeticError, AssertionError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(f"{path} does not fit the network that its header describes: {reason}", hint="Train or fetch it again") from error
    return Model(generator.eval().requires_grad_(False), info, path, registry.cached_sha256(path), whole)


def load_base(config: GeneratorConfig) -> tuple[GeneratorConfig, Generator | None]:
    """The generator of `config.base_model`, if there is one, and the configuration with the sha256 of its file.

    Raises MissingRequirement for a missing file, InputError for one that is not a model, or not the one that the configuration names.
    """
    if (needed := config.base_model) is None:
        return config, None
    path = Path(needed.name)
    found = load_model(path if path.exists() else registry.path(needed.name))
    if needed.sha256 not in ("", found.sha256):
        raise InputError(f"{found.path} has the sha256 {found.sha256}, and the recipe needs {needed.sha256}", hint="Name another base")
    return config.with_values(base_sha256=found.sha256), found.generator


class _BuildForLoading(TorchFunctionMode):
    """In the block, weights are not initialised at random, since loading replaces them. An explicit random generator still works.

    Allocating more than `elements` tensor elements raises ValueError: a header may describe a network of any size.
    """

    def __init__(self, elements: int) -> None:
        super().__init__()
        self._remaining = elements

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (torch.empty, torch.zeros, torch.ones, torch.randn):
            size = (kwargs or {}).get("size", args)
            self._remaining -= math.prod(size[0] if size and not isinstance(size[0], int) else size)
            if self._remaining < 0:
                raise ValueError("it is larger than what the file holds")
        if func in RANDOM_INIT and (kwargs or {}).get("generator") is None:
            return args[0] if args else (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))


def _add_delta(tensors: dict[str, Tensor], changes: dict[str, Tensor]) -> dict[str, Tensor]:
    """Add the differences of a delta to the tensors of its base. Unknown tensors are kept, so that loading the state reports them."""
    return tensors | {name: tensors[name] + change if name in tensors else change for name, change in changes.items()}


def find_model(path: Path) -> Path:
    """The model file for `path`: in the folder of a run its newest snapshot, else `path` itself."""
    if not path.is_dir():
        return path
    snapshots = sorted(path.glob("snapshot-*.safetensors"))
    if not snapshots:
        raise MissingRequirement(f"{path} holds no model yet", code="run-without-model", facts={"run": os.fspath(path)})
    return snapshots[-1]
