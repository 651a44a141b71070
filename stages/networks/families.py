"""The families of generators, by name. Adding one: its package, and a line here."""

from __future__ import annotations

from typing import Any

from stages.errors import UsageError
from stages.networks import fewshot, future, pix2pixhd, vid2vid
from stages.networks.common.config import FIRST_FAMILY, GeneratorConfig
from stages.networks.common.family import Family
from stages.networks.common.generator import Generator
from stages.plugins import Registry

_FAMILIES = Registry("fsv2v.families", Family, (fewshot.FAMILY, pix2pixhd.FAMILY, vid2vid.FAMILY, future.FAMILY))


def register(family: Family) -> None:
    """Make a family known by its name: training, models and synthesis then work with it as with the package's own."""
    _FAMILIES.register(family)


def find(name: str) -> Family:
    """The family of that name, of this package or of an installed one. Raises TypeError when there is none."""
    if (family := _FAMILIES.get(name)) is None:
        raise TypeError(f"no family of generators is named {name!r}, only {', '.join(sorted(_FAMILIES.all()))}")
    return family


def build(config: GeneratorConfig) -> Generator:
    """The network of a configuration, with random weights."""
    return find(config.family).build(config)


def presets() -> dict[str, GeneratorConfig]:
    """The configurations of all families by their names."""
    return {name: config for family in _FAMILIES.all().values() for name, config in family.presets.items()}


def as_family(config: GeneratorConfig, name: str) -> GeneratorConfig:
    """The same settings for another family, whose configuration has all fields of this one."""
    wanted = find(name).config
    if not issubclass(wanted, type(config)):
        raise UsageError(f"the settings of {config.family} are not those of {name}")
    return wanted(**vars(config))


def config_from_json(values: dict[str, Any]) -> GeneratorConfig:
    """The opposite of `GeneratorConfig.to_json`. Raises TypeError for unknown families and settings, ValueError for absurd numbers."""
    return find(values.get("family", FIRST_FAMILY)).config.from_json({name: value for name, value in values.items() if name != "family"})
