"""One small registry for everything that has interchangeable backends: a folder per kind, a file per backend.

A backend's file declares `BACKEND = Backend(...)` and imports nothing heavy until its `open` is called, so that listing the backends
is cheap and a missing package never breaks `--help`. To add a backend, add a file to the folder of its kind.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from stages.errors import MissingRequirement, UsageError

if TYPE_CHECKING:
    from stages.clip import Clip

KINDS = {
    "landmarks": "stages.extract_sketch.backends",
    "poses": "stages.extract_poses.backends",
    "segment": "stages.segment.backends",
    "flow": "stages.flow.backends",
}
"""kind -> the folder that holds its backends."""

AUTO = {"landmarks": ("mediapipe", "dlib"), "poses": ("mediapipe", "small"), "segment": ("street",), "flow": ("dis",)}
"""What the name `auto` stands for: the first of these that can be had."""


@dataclass(frozen=True)
class Package:
    """An importable package and the distribution that `pip install` wants."""

    module: str
    distribution: str


@dataclass(frozen=True)
class Backend:
    """What a backend is called, what it needs and what it makes; `open(device)` loads it."""

    name: str
    produces: str
    open: Callable[[str], Any]
    packages: tuple[Package, ...] = ()
    weights: tuple[str, ...] = ()
    also_missing: Callable[[], str] = str
    """For needs that are neither: as `missing`."""
    points: int = 0
    """How many points a subject has, where they are more than the kind asks for."""
    revision: int = 0
    """Raised when the same weights give other points than before; part of a layer's parameters, so that older layers differ."""
    one_only: bool = False
    """Whether it sees one subject and no others."""
    digests: Callable[[], Mapping[str, str]] = dict
    """name -> sha256 of files that are not in the registry of weights."""
    open_many: Callable[[str], Any] | None = None
    """As `open`, for all persons of a crowd; None where `open` finds as many as it can."""
    instead_of: str = ""
    """Where `auto` had to take this one: which better one cannot be used, and why."""

    def missing(self) -> str:
        """Empty if this backend can run now without the network, else a sentence that ends in the command that fixes it."""
        for package in self.packages:
            if importlib.util.find_spec(package.module) is None:
                return f"the package {package.module} is not installed: pip install {package.distribution}"
        from weights import registry

        for name in self.weights:
            if not registry.available(name):
                return f"the weights {name} are not here: fsv2v weights fetch {name}"
        return self.also_missing()

    def open_for(self, choice: str | int, device: str) -> Any:
        """What `open` or, where everybody counts (all, or the N-th), `open_many` returns."""
        everybody = choice == "all" or str(choice).isdecimal()
        return self.open_many(device) if everybody and self.open_many else self.open(device)

    @property
    def available(self) -> bool:
        return not self.missing()

    @property
    def notes(self) -> dict[str, Any]:
        """What a stage notes of the choice, to be said once in a run."""
        return {"once": [f"{self.name} is used, because {self.instead_of}"]} if self.instead_of else {}

    def parameters(self) -> dict[str, int]:
        """What a layer's producer says of the backend beside its name and weights."""
        return {"revision": self.revision} if self.revision else {}

    def weight_digests(self) -> dict[str, str]:
        """name -> sha256, as the `weights` of a layer's producer."""
        from weights import registry

        return {name: registry.sha256(name) for name in self.weights} | dict(self.digests())


class Backends:
    """The backends of one kind, found by looking into its folder."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._package = KINDS[kind]

    def names(self) -> list[str]:
        """All backends of this kind, whether they can run here or not."""
        folder = importlib.import_module(self._package).__path__
        return sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(folder) if not module.name.startswith("_"))

    def get(self, name: str) -> Backend:
        """The description of one backend. Raises UsageError for an unknown name."""
        if name not in self.names():
            raise UsageError(f"There is no {self.kind} backend named {name!r}", hint=f"Choose one of: {', '.join(self.names())}")
        backend: Backend = importlib.import_module(f"{self._package}.{name.replace('-', '_')}").BACKEND
        return backend

    def require(self, name: str) -> Backend:
        """The backend, ready to be opened: its packages are installed and its weights are here, fetched if need be.

        "auto" is the first of AUTO that can be had. Raises MissingRequirement with the command that fixes it.
        """
        if name == "auto":
            return self._first_of(AUTO[self.kind])
        backend = self.get(name)
        for package in backend.packages:
            if importlib.util.find_spec(package.module) is None:
                raise MissingRequirement(
                    f"The {self.kind} backend {name} needs the package {package.module}", hint=f"Run: pip install {package.distribution}"
                )
        from weights import registry

        for weight in backend.weights:
            registry.path(weight)
        if lack := backend.also_missing():
            raise MissingRequirement(f"The {self.kind} backend {name} cannot run: {lack}")
        return backend

    def require_for(self, clip: Clip, layer: str, name: str) -> Backend:
        """As `require`; but `auto` stays with what made the clip's finished layer, so that new weights do not make an old run differ."""
        if name == "auto" and clip.has(layer):
            before = clip.layer(layer).meta["producer"].get("backend")
            if before in AUTO[self.kind] and self.get(before).available:
                return self.get(before)
        return self.require(name)

    def _first_of(self, names: tuple[str, ...]) -> Backend:
        """The first that can be had. One that could not be had is not tried again by this process: without a network that takes long."""
        lacking: list[str] = []
        for name in names[:-1]:
            asked = (self.kind, name, *(os.environ.get(variable) for variable in ("FSV2V_WEIGHTS", "FSV2V_WEIGHTS_MIRROR")))
            try:
                if asked not in _lacking:
                    return self.require(name)
            except MissingRequirement as problem:
                _lacking[asked] = f"the better {name} cannot be: {problem}"
            lacking.append(_lacking[asked])
        return replace(self.require(names[-1]), instead_of="; ".join(lacking))


_lacking: dict[tuple[str | None, ...], str] = {}


def every_backend() -> list[tuple[str, Backend]]:
    """(kind, backend) of all that exist, for `fsv2v doctor`."""
    return [(kind, backends.get(name)) for kind in KINDS for backends in [Backends(kind)] for name in backends.names()]
