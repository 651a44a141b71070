"""The registry of backends: a folder for each kind, a file for each backend.

A backend's file declares `BACKEND = Backend(...)` and imports nothing heavy until its `open` is called. So listing the backends is
fast, and a missing package never breaks `--help`. To add a backend, add a file to the folder of its kind. Another package adds one
with an entry point of the group `fsv2v.backends` whose name is KIND.NAME, such as `landmarks.openface`.
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
from stages.errors import MissingRequirement, Sentence, UsageError, add_prefix

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
"""kind -> the candidates for `auto`, which chooses the first that is available."""

GROUP = "fsv2v.backends"
"""Entry points of other packages: KIND.NAME -> a `Backend`."""

Opened = TypeVar("Opened", covariant=True)
"""What `Backend.open` returns: a `Detector` for landmarks and poses; for flow and segment, see `__init__.py` in the folder of the kind."""


@dataclass(frozen=True)
class Package:
    """An importable package, and the name of its distribution for `pip install`."""

    module: str
    distribution: str

    def missing(self) -> str:
        """An empty text if the package is installed, else a message that ends with the command that installs it."""
        if importlib.util.find_spec(self.module) is not None:
            return ""
        return f"the package {self.module} is not installed: pip install {self.distribution}"


@dataclass(frozen=True)
class Backend(Generic[Opened]):
    """The name of a backend, its requirements and its output; `open(device)` loads it."""

    name: str
    produces: str
    """What it detects or computes, as a phrase for lists of backends."""
    open: Callable[[str], Opened]
    packages: tuple[Package, ...] = ()
    weights: tuple[str, ...] = ()
    also_missing: Callable[[], str] = str
    """Checks other requirements: returns a message about one that is missing, or an empty text, as `missing` does."""
    points: int = 0
    """Number of points of a subject, if it is larger than the kind requires; else 0."""
    revision: int = 0
    """Incremented when the same weights give other points than before. It is one of a layer's parameters, so that older layers differ."""
    one_only: bool = False
    """Whether it finds only one subject in a frame."""
    digests: Callable[[], Mapping[str, str]] = dict
    """name -> sha256 of files that are not in the registry of weights."""
    open_many: Callable[[str], Opened] | None = None
    """Opens a detector that finds all people of a crowd; None if the detector of `open` does so."""
    fallback_reason: str = ""
    """Set if `auto` fell back to this backend: says which better backend cannot be used, and why."""

    def missing(self) -> str:
        """An empty text if this backend can run now without the network, else a message about the first missing requirement."""
        from weights import registry

        missing_packages = (package.missing() for package in self.packages)
        missing_weights = (
            Sentence(f"the weights {name} are not here", code="weights-to-fetch", facts={"name": name})
            for name in self.weights
            if not registry.available(name)
        )
        return next(filter(None, missing_packages), "") or next(missing_weights, "") or self.also_missing()

    def open_for(self, choice: str | int, device: str) -> Opened:
        """Open a detector for this choice of subjects: by `open_many` for "all" and for a number, if the backend has it, else by `open`."""
        finds_many = choice == "all" or str(choice).isdecimal()
        return self.open_many(device) if finds_many and self.open_many else self.open(device)

    @property
    def available(self) -> bool:
        return not self.missing()

    @property
    def notes(self) -> dict[str, Any]:
        """Notes for a stage's outcome: if `auto` fell back to this backend, the reason, to be reported once in a run."""
        return {"once": [add_prefix(f"{self.name} is used, because ", self.fallback_reason)]} if self.fallback_reason else {}

    def parameters(self) -> dict[str, int]:
        """The parameters that this backend adds to those of a layer's producer."""
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
        return sorted([*self._builtin_names(), *self._plugin_entries()])

    def _builtin_names(self) -> list[str]:
        files = Path(__file__).parent.joinpath(self._folder).glob("*.py")
        return [file.stem.replace("_", "-") for file in files if not file.stem.startswith("_")]

    def _plugin_entries(self) -> dict[str, plugins.EntryPoint]:
        """name -> entry point of another package."""
        prefix = f"{self.kind}."
        entries = plugins.find_entry_points(GROUP, [prefix + name for name in self._builtin_names()])
        return {name.removeprefix(prefix): entry for name, entry in entries.items() if name.startswith(prefix)}

    def get(self, name: str) -> Backend[Opened]:
        """The description of one backend. Raises UsageError for an unknown name, MissingRequirement for a package that cannot be loaded."""
        if name in self._builtin_names():
            module = f"stages.{self._folder.replace('/', '.')}.{name.replace('-', '_')}"
            backend: Backend[Opened] = importlib.import_module(module).BACKEND
            return backend
        if entry := self._plugin_entries().get(name):
            return replace(plugins.load(entry, Backend), name=name)
        raise UsageError(f"There is no {self.kind} backend named {name!r}", hint=f"Choose one of: {', '.join(self.names())}")

    def every(self) -> list[Backend[Opened]]:
        """All backends that can be loaded, sorted by name. A warning is logged once for each package that cannot be loaded."""
        builtin = [self.get(name) for name in self._builtin_names()]
        plugin = [(name, plugins.load_or_warn(entry, Backend)) for name, entry in self._plugin_entries().items()]
        return sorted([*builtin, *(replace(backend, name=name) for name, backend in plugin if backend)], key=lambda backend: backend.name)

    def require(self, name: str) -> Backend[Opened]:
        """The backend, ready to be opened: its packages are installed, and missing weights are fetched.

        "auto" is the first of AUTO that is available. Raises MissingRequirement.
        """
        if name == "auto":
            return self._first_of(AUTO[self.kind])
        backend = self.get(name)
        for package in backend.packages:
            if reason := package.missing():
                raise MissingRequirement(f"The {self.kind} backend {name} cannot run: {reason}")
        from weights import registry

        for weight in backend.weights:
            registry.path(weight)
        if reason := backend.also_missing():
            raise MissingRequirement(f"The {self.kind} backend {name} cannot run: {reason}")
        return backend

    def require_for(self, clip: Clip, layer: str, name: str) -> Backend[Opened]:
        """As `require`, but "auto" is the backend that made the clip's finished layer, so that newly installed weights change nothing.

        This holds only if that backend is a candidate of AUTO and is available.
        """
        if name == "auto" and clip.has(layer):
            previous = clip.layer(layer).meta["producer"].get("backend")
            if previous in AUTO[self.kind] and self.get(previous).available:
                return self.get(previous)
        return self.require(name)

    def _first_of(self, names: tuple[str, ...]) -> Backend[Opened]:
        """The first that is available. Failures are remembered, since without a network each takes long."""
        reasons: list[str] = []
        for name in names[:-1]:
            key = (self.kind, name, *(os.environ.get(variable) for variable in ("FSV2V_WEIGHTS", "FSV2V_WEIGHTS_MIRROR")))
            try:
                if key not in _unavailable:
                    return self.require(name)
            except MissingRequirement as problem:
                _unavailable[key] = add_prefix(f"the better {name} is not available: ", str(problem))
            reasons.append(_unavailable[key])
        return replace(self.require(names[-1]), fallback_reason=next(iter(reasons), ""))


_unavailable: dict[tuple[str | None, ...], str] = {}
"""(kind, name, folders of weights) -> why the backend is not available."""


def every_backend() -> list[tuple[str, Backend[Any]]]:
    """(kind, backend) for all backends that can be loaded."""
    return [(kind, backend) for kind in KINDS for backend in Backends(kind).every()]
