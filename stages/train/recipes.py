"""Recipes: TOML files with the settings of a training run. Those in the folder `recipes` are the presets of `fsv2v train`.

base = "face-256"               # another recipe, whose settings this one inherits
network = "face-256"            # a preset of a family (stages/networks/fewshot/config.py)
max_examples = 4                # any field of TrainConfig
[generator]                     # changes to the network; [losses] and [discriminators]: changes to their defaults
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
from stages.train.config import FIELD_NAMES, Phase, TrainConfig

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

log = logging.getLogger(__name__)
FOLDER = Path(__file__).parent / "recipes"
PARTS = ("network", "generator", "losses", "discriminators", "phases")
Table = TypeVar("Table", Phase, LossWeights, DiscriminatorConfig)


def names() -> list[str]:
    """The names of the presets, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def read_recipe(name: str) -> TrainConfig:
    """The preset of this name, or the recipe in the file `name` if it ends in .toml.

    Raises UsageError if there is no such recipe and for unknown or invalid settings, InputError for a file that cannot be read.
    """
    path, table = _read(name)
    try:
        return _config(table)
    except (TypeError, KeyError, ValueError, AttributeError, OverflowError, ZeroDivisionError) as error:
        raise UsageError(f"{path}: {error}", hint="The settings are the fields of TrainConfig in stages/train/config.py") from error


def _read(name: str) -> tuple[Path, dict[str, Any]]:
    """The path of a recipe, and its settings with those that it inherits from its base."""
    path = Path(name) if name.endswith(".toml") else FOLDER / f"{name}.toml"
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise UsageError(f"there is no recipe {name!r}", hint=f"Name a file ending in .toml, or one of {', '.join(names())}") from None
    except (OSError, ValueError, RecursionError) as error:  # ValueError: not TOML, or not UTF-8
        raise InputError(f"the recipe {path} cannot be read: {error}", hint="See those of fsv2v, in examples/recipes") from error
    for former in sorted(FIELD_NAMES.keys() & table):
        log.warning("%s: the setting %s is called %s now", path, former, FIELD_NAMES[former])
    table = {FIELD_NAMES.get(name, name): value for name, value in table.items()}
    if (base := table.pop("base", None)) is None:
        return path, table
    inherited = _read(str(base))[1]
    merged = {name: {**inherited.get(name, {}), **value} if isinstance(value, dict) else value for name, value in table.items()}
    return path, {**inherited, **merged}


def _config(table: dict[str, Any]) -> TrainConfig:
    """The configuration of a recipe's settings. Raises ValueError or another built-in error if they are invalid."""
    network, networks = table.get("network", "face-256"), presets()
    if network not in networks:
        raise ValueError(f"there is no network {network!r}, only {', '.join(networks)}")
    settings = {name: _lists_to_tuples(value) for name, value in table.items() if name not in PARTS}
    if unknown := sorted(set(settings) - {f.name for f in fields(TrainConfig)}):
        raise ValueError(f"unknown settings: {', '.join(unknown)}")
    if not (phases := table.get("phases")):
        raise ValueError("there are no [[phases]]")
    changes = {name: _lists_to_tuples(value) for name, value in table.get("generator", {}).items()}
    config = TrainConfig(
        generator=replace(networks[network], **changes), losses=_from_table(LossWeights, table.get("losses", {})),
        discriminators=_from_table(DiscriminatorConfig, table.get("discriminators", {})),
        phases=tuple(_from_table(Phase, phase) for phase in phases),
        **settings,
    )  # fmt: skip
    for phase in config.phases:
        if phase.motion_only and (phase.has_past or phase.adversarial or not config.generator.can_train_motion_only(config.max_examples)):
            raise ValueError("a phase with motion_only needs frames = 1, adversarial = false, and a network that warps all its examples")
        if phase.adversarial and config.generator.makes_labels:
            raise ValueError("there are no discriminators for label maps: all phases need adversarial = false")
    halvings = config.generator.halvings
    for height, width in map(config.size_of, config.phases):
        if height % 2**halvings or width % 2**halvings:
            raise ValueError(f"images of {height}x{width} cannot be halved {halvings} times: take multiples of {2**halvings}")
    return config


def _from_table(kind: type[Table], values: dict[str, Any]) -> Table:
    return kind(**{name: _lists_to_tuples(value) for name, value in values.items()})


def _lists_to_tuples(value: Any) -> Any:
    return tuple(map(_lists_to_tuples, value)) if isinstance(value, list) else value
