"""Model files: NAME.safetensors, with the configuration as JSON in the header. Nothing in them can run code.

A whole model holds every tensor. A delta holds only the tensors that finetuning changed, as differences to those of another file, its
base, which the header names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from stages.errors import InputError, MissingRequirement
from stages.io.files import write_atomically
from stages.io.reading import parse_object
from stages.networks.common.config import GeneratorConfig

HEADER = "fsv2v.model"
SCHEMA = "fsv2v.model/1"
DELTA = "fsv2v.delta/1"
_MAX_DIMENSIONS = 8


@dataclass(frozen=True)
class Base:
    """The file to which a delta is added. The sha256 identifies it; name and path help to find it."""

    sha256: str
    name: str
    path: str = ""
    """Relative to the delta's folder, or absolute; empty for weights of the registry, whose location differs between machines."""


def save_model(path: Path, tensors: Mapping[str, Tensor], config: GeneratorConfig, info: Mapping[str, Any]) -> None:
    """Write a whole model atomically, as float16: full precision is needed only in the state of a run.

    info: training configuration, step, and the like.
    """
    _write(path, tensors, {**info, "schema": SCHEMA, "generator": config.to_json()})


def save_delta(
    path: Path,
    tensors: Mapping[str, Tensor],
    base: Base,
    base_tensors: Mapping[str, Tensor],
    config: GeneratorConfig,
    info: Mapping[str, Any],
) -> None:
    """Write a delta atomically: those of `tensors` that differ from `base_tensors`, as float16 differences.

    Differences are small, so in float16 they are more precise than the values.
    """
    changes = {name: value.detach().cpu() - base_tensors[name] for name, value in tensors.items()}
    changed = {name: change for name, change in changes.items() if change.half().any()}
    _write(path, changed, {**info, "schema": DELTA, "generator": config.to_json(), "base": asdict(base)})


def _write(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    # integers, such as the counts of batch norm, are stored unchanged
    halves = {name: value.half() if value.is_floating_point() else value for name, value in tensors.items()}
    stored = {name: value.detach().cpu().contiguous() for name, value in halves.items()}
    write_atomically(path, save(stored, metadata={HEADER: json.dumps(header, sort_keys=True)}))


def read_model(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The header and the tensors (float32) of a model file; the tensors of a delta are differences to its base (`base_of`).

    Raises MissingRequirement when the file does not exist, InputError when it is not a valid fsv2v model.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = (file.metadata() or {}).get(HEADER)
            stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except FileNotFoundError:
        raise MissingRequirement(f"the model {path} is not there", code="model-not-found") from None
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is not a readable model: {error}", hint="Fetch or train it again") from error
    if header is None:
        raise InputError(f"{path} holds weights of something else, not of an fsv2v model", code="not-a-model")
    tensors = {name: value.float() if value.is_floating_point() else value for name, value in stored.items()}
    if too_deep := [name for name, value in tensors.items() if value.dim() > _MAX_DIMENSIONS]:
        raise InputError(f"{path} is no model: its tensor {too_deep[0]!r:.100} has {tensors[too_deep[0]].dim()} dimensions")
    if not_finite := [name for name, value in tensors.items() if not _is_finite(value)]:
        reason = f"{len(not_finite)} of its {len(tensors)} tensors hold values that are not finite, such as {not_finite[0]}"
        raise InputError(f"{path} cannot make images: {reason}", hint="Fetch it again, or take an earlier snapshot of its training")
    try:
        info = parse_object(header)
    except ValueError as error:
        raise InputError(f"the header of {path} is damaged: {error}", hint="Fetch or train it again") from error
    if info.get("schema") not in (SCHEMA, DELTA):
        raise InputError(f"{path} has the model format {info.get('schema')}, this version reads {SCHEMA} and {DELTA}", hint="Update fsv2v")
    return info, tensors


def _is_finite(values: Tensor) -> bool:
    return bool(values.sum().isfinite()) or bool(values.isfinite().all())  # the sum is faster, but may overflow


def base_of(info: Mapping[str, Any]) -> Base | None:
    """The base that the header of a delta names; None for a whole model. Raises InputError for a damaged header."""
    if info["schema"] != DELTA:
        return None
    base = info.get("base")
    if not isinstance(base, dict) or not {"sha256", "name"} <= base.keys() <= {"sha256", "name", "path"}:
        raise InputError("a finetuned model does not say what it was made from", hint="Fetch or finetune it again")
    if not all(isinstance(value, str) and "\0" not in value for value in base.values()):
        raise InputError("a finetuned model names as its base something that is not text", hint="Fetch or finetune it again")
    return Base(**base)
