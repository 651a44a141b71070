"""Options and outcome of a prediction."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class PredictOptions:
    """Options of a prediction. All except `device` are parameters of the output; an output with other values is not replaced."""

    frames: int
    """Number of label maps to predict."""
    observed: tuple[int | None, int | None] = (None, None)
    """The observed frames [start, stop) of the clip; the first predicted frame is frame `stop`. Negative numbers count from the end."""
    device: str = "auto"


@dataclass(frozen=True)
class Outcome:
    """The written clip, and warnings about it."""

    path: Path
    status: Literal["done", "skipped"]
    frames: int
    seconds: float = 0.0
    warnings: tuple[str, ...] = ()
