"""The device for computations, and reproducible computation on it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from stages.errors import MissingRequirement


def choose_device(name: str) -> torch.device:
    """The device named auto, cpu, cuda, cuda:N or mps. Raises MissingRequirement when it cannot be used."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise MissingRequirement(f"the device {name!r} cannot be used: {reason}", code="device-unusable") from error
    return device


@contextlib.contextmanager
def reproducible(device: torch.device) -> Iterator[None]:
    """In the block, CPUs compute deterministically, and the caller may seed torch without effects outside it.

    Afterwards the former settings and random state are restored.
    """
    settings = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.use_deterministic_algorithms(device.type == "cpu", warn_only=True)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(settings[0], warn_only=settings[1])
