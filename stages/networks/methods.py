"""Which generator a configuration means: the package's own, or one that someone else brought along under a name of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

from stages.networks.config import GeneratorConfig, Method
from stages.networks.generator import FewShotGenerator

BROUGHT: dict[str, Callable[[GeneratorConfig], FewShotGenerator]] = {}
"""By `GeneratorConfig.method`. What is built has the interface of FewShotGenerator; training, models and synthesis then work as ever."""


def build(config: GeneratorConfig) -> FewShotGenerator:
    """The network of a configuration, with random weights. TypeError when nobody knows its method."""
    if config.method in BROUGHT:
        return BROUGHT[config.method](config)
    if config.method not in get_args(Method):
        raise TypeError(f"no generator is known by the method {config.method!r}")
    return FewShotGenerator(config)
