"""TensorBoard, for those who want it (extra `tensorboard`): the rows of the log as curves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stages.errors import MissingRequirement


class Board:
    """Writes to the folder `tensorboard` of a run. Steps that are done again after a stop are shown as they were last."""

    def __init__(self, run: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise MissingRequirement("TensorBoard is not installed", hint="Run: pip install 'fsv2v[tensorboard]'") from error
        self.writer = SummaryWriter(str(run / "tensorboard"))

    def row(self, row: Mapping[str, Any]) -> None:
        """A row of the log."""
        for group, values in (("train", row), ("validation", row.get("validation", {}))):
            for name, value in values.items():
                if isinstance(value, float):
                    self.writer.add_scalar(f"{group}/{name}", value, row["step"])
        self.writer.flush()
