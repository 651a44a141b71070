"""What a call tells its caller while it works."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Reporter:
    """Receives notes, warnings and progress. This one ignores them; derive from it to show or collect them.

    A text may be a `stages.errors.Sentence`, a str with a `code` and `facts`.
    """

    def note(self, text: str) -> None:
        """A sentence about what is being done, and why."""

    def warning(self, text: str) -> None:
        """A sentence about what makes the result worse than it could be."""

    def notes_of(self, name: str, notes: Mapping[str, Any]) -> None:
        """The notes of a stage about the input `name`: their "warnings", and those "once" that hold for the whole run."""
        for text in notes.get("warnings", ()):
            self.warning(f"{name}: {text}")
        for text in notes.get("once", ()):
            self.warning(text)

    def progress(self, done: int, total: int, **figures: float) -> None:
        """`done` of `total` frames or steps are finished. figures: for example the loss."""
