"""What a family of generators is: trainer, inference, models and benchmarks know nothing else of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from stages.networks.common.config import GeneratorConfig
from stages.networks.common.generator import Generator
from stages.networks.common.objective import Objective, generator_losses


@dataclass(frozen=True)
class Family:
    """The record of a family; a package of its own under `stages/networks` has it as FAMILY."""

    config: type[GeneratorConfig]
    build: Callable[[Any], Generator]
    """Builds the network of a configuration, with random weights."""
    presets: Mapping[str, GeneratorConfig] = field(default_factory=dict)
    """Configurations by the names that recipes use; no two families share one."""
    objective: Objective = generator_losses
    """The terms that training minimises for one frame."""

    @property
    def name(self) -> str:
        return self.config.family
