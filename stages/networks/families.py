"""The registry of the families of generators. To add a family, write its package and list it here."""

from __future__ import annotations

from typing import Any

from stages.errors import UsageError
from stages.networks import enhancer, fewshot, future, pix2pixhd, vid2vid
from stages.networks.common.config import FIRST_FAMILY, GeneratorConfig
from stages.networks.common.family import Family
from stages.networks.common.generator import Generator
from stages.plugins import Registry

_FAMILIES = Registry("fsv2v.families", Family, (fewshot.FAMILY, pix2pixhd.FAMILY, vid2vid.FAMILY, future.FAMILY, enhancer.FAMILY))


def register(family: Family) -> None:
    """Add a family to the registry. Training, models and synthesis can then use it by its name."""
    _FAMILIES.register(family)


def find(name: str) -> Family:
    """The family of this name, from this package or from another installed one. Raises TypeError if there is none."""
    if (family := _FAMILIES.get(name)) is None:
        raise TypeError(f"no family of generators is named {name!r}, only {', '.join(sorted(_FAMILIES.all()))}")
    return family


def build(config: GeneratorConfig) -> Generator:
    """The network of a configuration, with random weights."""
    return find(config.family).build(config)


def presets() -> dict[str, GeneratorConfig]:
    """Name -> preset configuration, of all families."""
    return {name: config for family in _FAMILIES.all().values() for name, config in family.presets.items()}


def as_family(config: GeneratorConfig, name: str) -> GeneratorConfig:
    """The configuration of the family `name` with the values of `config`.

    Raises UsageError unless the type of its configurations is derived from that of `config`.
    """
    target = find(name).config
    if not issubclass(target, type(config)):
        raise UsageError(f"the settings of {config.family} are not those of {name}")
    return target(**vars(config))


def config_from_json(values: dict[str, Any]) -> GeneratorConfig:
    """The inverse of `GeneratorConfig.to_json`. Raises TypeError for unknown families and settings, ValueError for invalid numbers."""
    return find(values.get("family", FIRST_FAMILY)).config.from_json({name: value for name, value in values.items() if name != "family"})
