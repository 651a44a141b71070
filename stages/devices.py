"""Which device computes."""

from __future__ import annotations

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
        raise MissingRequirement(f"the device {name!r} cannot be used: {first}", hint="see `fsv2v doctor` for those that can") from error
    return device
