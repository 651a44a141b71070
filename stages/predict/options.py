"""What shapes a prediction, and what it says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class PredictOptions:
    """All but `device` enters the key of the output."""

    frames: int
    """Number of label maps to predict."""
    observed: tuple[int | None, int | None] = (None, None)
    """The part [start, stop) of the clip that is observed; the future begins with frame `stop`. Negative numbers count from the end."""
    device: str = "auto"


@dataclass(frozen=True)
class Outcome:
    """The finished clip and what is worth knowing about it."""

    path: Path
    status: Literal["done", "skipped"]
    frames: int
    seconds: float = 0.0
    warnings: tuple[str, ...] = ()
