"""Which generator a configuration means: the package's own, or one that was registered under another name."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

from stages.networks.config import GeneratorConfig, Method
from stages.networks.generator import FewShotGenerator

Builder = Callable[[GeneratorConfig], FewShotGenerator]
_BUILDERS: dict[str, Builder] = {}


def register(method: str, builder: Builder) -> None:
    """Make `GeneratorConfig.method = method` mean the network that `builder` returns, which has the interface of FewShotGenerator.

    Training, models and synthesis then work with it as with the package's own.
    """
    _BUILDERS[method] = builder


def build(config: GeneratorConfig) -> FewShotGenerator:
    """The network of a configuration, with random weights. Raises TypeError for an unknown method."""
    if config.method in _BUILDERS:
        return _BUILDERS[config.method](config)
    if config.method not in get_args(Method):
        raise TypeError(f"no generator is known by the method {config.method!r}")
    return FewShotGenerator(config)
