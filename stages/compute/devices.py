"""Which device computes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from stages.errors import MissingRequirement


def choose_device(name: str) -> torch.device:
    """auto | cpu | cuda | cuda:N | mps -> a device that is there. MissingRequirement when it is not."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        first = str(error).splitlines()[0]
        raise MissingRequirement(f"the device {name!r} cannot be used: {first}", code="device-unusable") from error
    return device


@contextlib.contextmanager
def reproducible(device: torch.device) -> Iterator[None]:
    """Within, CPUs compute deterministically, and random numbers may be seeded; afterwards the caller's settings are back."""
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.use_deterministic_algorithms(device.type == "cpu", warn_only=True)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(before[0], warn_only=before[1])
