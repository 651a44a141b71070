"""The flow estimator that supervises training and makes the layer `flow`: DIS, or a network from a file of the user."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from stages.backends import Backend, Backends
from stages.errors import MissingRequirement, UsageError
from stages.flow.backends import Estimator, Opener
from stages.io.digests import file_sha256


@dataclass(frozen=True)
class Teacher:
    """A backend with its network, if it has one. weights: file name -> sha256."""

    backend: Backend[Opener]
    model: Path | None = None
    weights: Mapping[str, str] = field(default_factory=dict)

    @property
    def identity(self) -> str:
        """Identifies the teacher: "dis", or "onnx" and the sha256 of the network."""
        return " ".join([self.backend.name, *self.weights.values()])

    def open(self, device: str) -> Estimator:
        """Load the estimator. Raises UsageError or MissingRequirement when the network cannot be used."""
        return self.backend.open(device)(self.model)


def choose_teacher(backend: str = "auto", model: str | Path | None = None) -> Teacher:
    """The teacher for the backend dis, onnx, or auto: onnx if a network is given, else dis. model: the ONNX file of the network.

    Raises UsageError when backend and network do not fit, MissingRequirement when the file or a package is missing.
    """
    name = ("dis" if model is None else "onnx") if backend == "auto" else backend
    chosen = Backends("flow").require(name)
    if model is None:
        if name == "onnx":
            raise UsageError("The flow backend onnx needs a network", code="flow-model-needed")
        return Teacher(chosen)
    if name == "dis":
        raise UsageError("The flow backend dis has no network", code="flow-model-unused")
    path = Path(model)
    if not path.is_file():
        raise MissingRequirement(f"The flow network {path} does not exist", hint="Name an ONNX file")
    return Teacher(chosen, path, {path.name: file_sha256(path)})
