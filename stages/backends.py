"""The registry of backends: a folder for each kind, a file for each backend.

A backend's file declares `BACKEND = Backend(...)` and imports nothing heavy until its `open` is called, so that listing the backends
is cheap and a missing package never breaks `--help`. To add a backend, add a file to the folder of its kind; another package declares an
entry point of the group `fsv2v.backends` whose name is KIND.NAME, such as `landmarks.openface`.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, overload

from stages import plugins
from stages.errors import MissingRequirement, Sentence, UsageError, prefixed

if TYPE_CHECKING:
    from stages.clip import Clip
    from stages.tracking.tracker import Detector

KINDS = {
    "landmarks": "extract_sketch/backends",
    "poses": "extract_poses/backends",
    "segment": "segment/backends",
    "flow": "flow/backends",
}
"""kind -> the folder below `stages` that holds its backends."""

AUTO = {"landmarks": ("mediapipe", "dlib"), "poses": ("mediapipe", "small"), "segment": ("street",), "flow": ("dis",)}
"""What the name `auto` stands for: the first of these that is available."""

GROUP = "fsv2v.backends"
"""Entry points of other packages: KIND.NAME -> a `Backend`."""

Opened = TypeVar("Opened", covariant=True)
"""What a backend opens to: a `Detector` of landmarks or poses; for flow and segment, see `__init__.py` in the folder of the kind."""


@dataclass(frozen=True)
class Package:
    """An importable package and the distribution that `pip install` wants."""

    module: str
    distribution: str

    def missing(self) -> str:
        """Empty if the package is installed, else a sentence that ends in the command that installs it."""
        if importlib.util.find_spec(self.module) is not None:
            return ""
        return f"the package {self.module} is not installed: pip install {self.distribution}"


@dataclass(frozen=True)
class Backend(Generic[Opened]):
    """The name of a backend, its requirements and its output; `open(device)` loads it."""

    name: str
    produces: str
    open: Callable[[str], Opened]
    packages: tuple[Package, ...] = ()
    weights: tuple[str, ...] = ()
    also_missing: Callable[[], str] = str
    """For other requirements: as `missing`."""
    points: int = 0
    """Number of points of a subject, where it is larger than the kind requires."""
    revision: int = 0
    """Raised when the same weights give other points than before; part of a layer's parameters, so that older layers differ."""
    one_only: bool = False
    """Whether it sees a single subject."""
    digests: Callable[[], Mapping[str, str]] = dict
    """name -> sha256 of files that are not in the registry of weights."""
    open_many: Callable[[str], Opened] | None = None
    """Opens a detector that finds all people of a crowd; None if the one of `open` already does."""
    instead_of: str = ""
    """Set where `auto` fell back to this backend: which better one cannot be used, and why."""

    def missing(self) -> str:
        """Empty if this backend can run now without the network, else a sentence about the first thing that is missing."""
        from weights import registry

        lacking = (package.missing() for package in self.packages)
        absent = (
            Sentence(f"the weights {name} are not here", code="weights-to-fetch", facts={"name": name})
            for name in self.weights
            if not registry.available(name)
        )
        return next(filter(None, lacking), "") or next(absent, "") or self.also_missing()

    def open_for(self, choice: str | int, device: str) -> Opened:
        """Open for one subject, or, where every subject counts ("all", or the N-th), for many."""
        everybody = choice == "all" or str(choice).isdecimal()
        return self.open_many(device) if everybody and self.open_many else self.open(device)

    @property
    def available(self) -> bool:
        return not self.missing()

    @property
    def notes(self) -> dict[str, Any]:
        """Notes for a stage's outcome: why `auto` fell back to this backend, to be reported once in a run."""
        return {"once": [prefixed(f"{self.name} is used, because ", self.instead_of)]} if self.instead_of else {}

    def parameters(self) -> dict[str, int]:
        """The backend's own entries among the parameters of a layer's producer."""
        return {"revision": self.revision} if self.revision else {}

    def weight_digests(self) -> dict[str, str]:
        """name -> sha256, as the `weights` of a layer's producer."""
        from weights import registry

        return {name: registry.sha256(name) for name in self.weights} | dict(self.digests())


class Backends(Generic[Opened]):
    """The backends of one kind: the files of its folder, and those that other packages declare."""

    @overload
    def __init__(self: Backends[Detector], kind: Literal["landmarks", "poses"]) -> None: ...
    @overload
    def __init__(self: Backends[Any], kind: str) -> None: ...

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._folder = KINDS[kind]

    def names(self) -> list[str]:
        """All backends of this kind, whether they can run here or not. Imports none of them."""
        return sorted([*self._own(), *self._foreign()])

    def _own(self) -> list[str]:
        files = Path(__file__).parent.joinpath(self._folder).glob("*.py")
        return [file.stem.replace("_", "-") for file in files if not file.stem.startswith("_")]

    def _foreign(self) -> dict[str, plugins.EntryPoint]:
        """name -> entry point of another package."""
        start = f"{self.kind}."
        entries = plugins.found(GROUP, [start + name for name in self._own()])
        return {name.removeprefix(start): entry for name, entry in entries.items() if name.startswith(start)}

    def get(self, name: str) -> Backend[Opened]:
        """The description of one backend. Raises UsageError for an unknown name, MissingRequirement for a package that cannot be loaded."""
        if name in self._own():
            module = f"stages.{self._folder.replace('/', '.')}.{name.replace('-', '_')}"
            backend: Backend[Opened] = importlib.import_module(module).BACKEND
            return backend
        if entry := self._foreign().get(name):
            return replace(plugins.load(entry, Backend), name=name)
        raise UsageError(f"There is no {self.kind} backend named {name!r}", hint=f"Choose one of: {', '.join(self.names())}")

    def every(self) -> list[Backend[Opened]]:
        """All that can be loaded, in the order of their names; of each package that cannot, a warning is logged once."""
        own = [self.get(name) for name in self._own()]
        foreign = [(name, plugins.load_or_warn(entry, Backend)) for name, entry in self._foreign().items()]
        return sorted([*own, *(replace(backend, name=name) for name, backend in foreign if backend)], key=lambda backend: backend.name)

    def require(self, name: str) -> Backend[Opened]:
        """The backend, ready to be opened: its packages are installed, and its weights are fetched if need be.

        "auto" is the first of AUTO that is available. Raises MissingRequirement.
        """
        if name == "auto":
            return self._first_of(AUTO[self.kind])
        backend = self.get(name)
        for package in backend.packages:
            if lack := package.missing():
                raise MissingRequirement(f"The {self.kind} backend {name} cannot run: {lack}")
        from weights import registry

        for weight in backend.weights:
            registry.path(weight)
        if lack := backend.also_missing():
            raise MissingRequirement(f"The {self.kind} backend {name} cannot run: {lack}")
        return backend

    def require_for(self, clip: Clip, layer: str, name: str) -> Backend[Opened]:
        """As `require`, but `auto` stays with the maker of the clip's finished layer, so that new weights do not make an old run differ."""
        if name == "auto" and clip.has(layer):
            before = clip.layer(layer).meta["producer"].get("backend")
            if before in AUTO[self.kind] and self.get(before).available:
                return self.get(before)
        return self.require(name)

    def _first_of(self, names: tuple[str, ...]) -> Backend[Opened]:
        """The first that is available. A process tries each that is not only once: without a network that takes long."""
        lacking: list[str] = []
        for name in names[:-1]:
            tried = (self.kind, name, *(os.environ.get(variable) for variable in ("FSV2V_WEIGHTS", "FSV2V_WEIGHTS_MIRROR")))
            try:
                if tried not in _lacking:
                    return self.require(name)
            except MissingRequirement as problem:
                _lacking[tried] = prefixed(f"the better {name} is not available: ", str(problem))
            lacking.append(_lacking[tried])
        return replace(self.require(names[-1]), instead_of=next(iter(lacking), ""))


_lacking: dict[tuple[str | None, ...], str] = {}


def every_backend() -> list[tuple[str, Backend[Any]]]:
    """(kind, backend) of all that can be loaded."""
    return [(kind, backend) for kind in KINDS for backend in Backends(kind).every()]
