"""The description of a family of generators. Training, inference and models use families only through it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from stages.networks.common.config import GeneratorConfig
from stages.networks.common.generator import Generator
from stages.networks.common.objective import Objective, generator_losses


@dataclass(frozen=True)
class Family:
    """A family of generators. A package that contains a family defines it as `FAMILY`."""

    config: type[GeneratorConfig]
    build: Callable[[Any], Generator]
    """Builds the network of a configuration, with random weights."""
    presets: Mapping[str, GeneratorConfig] = field(default_factory=dict)
    """Name in recipes -> configuration. No two families may use the same name."""
    objective: Objective = generator_losses
    """Computes the terms that training minimises for one frame."""

    @property
    def name(self) -> str:
        return self.config.family
