"""Writes rows of the log for TensorBoard (extra `tensorboard`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stages.errors import MissingRequirement


class TensorBoardWriter:
    """Writes to the folder `tensorboard` in the folder `run`. For steps that are repeated after a stop, the last values are shown.

    Raises MissingRequirement when TensorBoard is not installed.
    """

    def __init__(self, run: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise MissingRequirement("TensorBoard is not installed", hint="Run: pip install 'fsv2v[tensorboard]'") from error
        self.writer = SummaryWriter(str(run / "tensorboard"))

    def row(self, row: Mapping[str, Any]) -> None:
        """Write the values of a row of the log as points of curves."""
        for group, values in (("train", row), ("validation", row.get("validation", {}))):
            for name, value in values.items():
                if isinstance(value, float):
                    self.writer.add_scalar(f"{group}/{name}", value, row["step"])
        self.writer.flush()
