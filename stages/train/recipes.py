"""Recipes: files that say how a model is trained. Those in the folder `recipes` are the presets of `fsv2v train`.

base = "face-256"               # another recipe, from which this one differs
network = "face-256"            # a preset of a family (stages/networks/fewshot/config.py)
max_examples = 4                # any field of TrainConfig
[generator]                     # what differs from the network; [losses] and [discriminators] from their defaults
[[phases]]                      # the schedule, one table for each phase
"""

from __future__ import annotations

import logging
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypeVar

from stages.errors import InputError, UsageError
from stages.networks.common.objective import DiscriminatorConfig, LossWeights
from stages.networks.families import presets
from stages.train.config import Phase, TrainConfig

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

log = logging.getLogger(__name__)
FOLDER = Path(__file__).parent / "recipes"
PARTS = ("network", "generator", "losses", "discriminators", "phases")
Table = TypeVar("Table", Phase, LossWeights, DiscriminatorConfig)


def names() -> list[str]:
    """The presets, in the order of the alphabet."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def read_recipe(name: str) -> TrainConfig:
    """The recipe of that name, or in the file NAME.toml.

    Raises UsageError for a name that is not there and for settings that do not exist, InputError for a file that is not TOML.
    """
    path, table = _read(name)
    try:
        return _config(table)
    except (TypeError, KeyError, ValueError, AttributeError, OverflowError, ZeroDivisionError) as error:
        raise UsageError(f"{path}: {error}", hint="The settings are the fields of TrainConfig in stages/train/config.py") from error


def _read(name: str) -> tuple[Path, dict[str, Any]]:
    """The file and its table, on top of that of its base."""
    path = Path(name) if name.endswith(".toml") else FOLDER / f"{name}.toml"
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise UsageError(f"there is no recipe {name!r}", hint=f"Name a file ending in .toml, or one of {', '.join(names())}") from None
    except (OSError, ValueError, RecursionError) as error:  # ValueError: not TOML, or not UTF-8
        raise InputError(f"the recipe {path} cannot be read: {error}", hint="See those of fsv2v, in examples/recipes") from error
    if "players" in table:
        log.warning("%s: the table [players] is called [discriminators] now", path)
        table = {"discriminators" if name == "players" else name: value for name, value in table.items()}
    if (base := table.pop("base", None)) is None:
        return path, table
    below = _read(str(base))[1]
    return path, {**below, **{name: {**below.get(name, {}), **own} if isinstance(own, dict) else own for name, own in table.items()}}


def _config(table: dict[str, Any]) -> TrainConfig:
    network, networks = table.get("network", "face-256"), presets()
    if network not in networks:
        raise ValueError(f"there is no network {network!r}, only {', '.join(networks)}")
    plain = {name: _frozen(value) for name, value in table.items() if name not in PARTS}
    if unknown := sorted(set(plain) - {f.name for f in fields(TrainConfig)}):
        raise ValueError(f"unknown settings: {', '.join(unknown)}")
    changes = {name: _frozen(value) for name, value in table.get("generator", {}).items()}
    config = TrainConfig(
        generator=replace(networks[network], **changes), losses=_table(LossWeights, table.get("losses", {})),
        discriminators=_table(DiscriminatorConfig, table.get("discriminators", {})),
        phases=tuple(_table(Phase, phase) for phase in table["phases"]),
        **plain,
    )  # fmt: skip
    for phase in config.phases:
        if phase.motion_only and (phase.has_past or phase.adversarial or not config.generator.trains_motion_alone(config.max_examples)):
            raise ValueError("a phase with motion_only has frames = 1 and adversarial = false, and a network that warps all its examples")
        if phase.adversarial and config.generator.makes_labels:
            raise ValueError("no discriminator judges label maps: all phases that predict them have adversarial = false")
    halvings = config.generator.halvings
    for height, width in map(config.size_of, config.phases):
        if height % 2**halvings or width % 2**halvings:
            raise ValueError(f"images of {height}x{width} cannot be halved {halvings} times: take multiples of {2**halvings}")
    return config


def _table(kind: type[Table], values: dict[str, Any]) -> Table:
    return kind(**{name: _frozen(value) for name, value in values.items()})


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
