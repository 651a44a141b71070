"""What shapes a synthesis, and what it says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from stages.conditions.framing import Crop


@dataclass(frozen=True)
class SynthesizeOptions:
    """All but `device` enters the key of the output."""

    num_examples: int = 4
    """At most so many frames are taken from each example clip or video; of a picture one."""
    crop: Crop = "auto"
    normalize: Literal["auto", "on", "off"] = "auto"
    """Fit the driving face to the example's. auto: unless the example is a frame of the driving clip itself."""
    compare: bool = False
    """Driving frame, semantic image and result side by side."""
    finetune: int = 0
    """Steps of finetuning on the examples beforehand."""
    seed: int = 0
    device: str = "auto"


@dataclass(frozen=True)
class Outcome:
    """The finished output and what is worth knowing about it."""

    path: Path
    status: Literal["done", "skipped"]
    frames: int
    seconds: float = 0.0
    held_frames: int = 0
    """Driving frames without a detection, for which the last one was held."""
    warnings: tuple[str, ...] = ()
