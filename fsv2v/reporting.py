"""What a call tells its caller while it works."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stages.errors import add_prefix


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

    def explained(self, text: str) -> str:
        """The text with what to do about it, in terms of the caller's own interface; here as it is. Reports are written with it."""
        return text

    def progress(self, done: int, total: int, **figures: float) -> None:
        """`done` of `total` frames or steps are finished. figures: for example the loss."""


class Remembering(Reporter):
    """Passes everything on, and remembers notes and warnings as (kind, text)."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self.said: list[tuple[str, str]] = []

    def note(self, text: str) -> None:
        self.said.append(("note", text))
        self._reporter.note(text)

    def warning(self, text: str) -> None:
        self.said.append(("warning", text))
        self._reporter.warning(text)

    def notes_of(self, name: str, notes: Mapping[str, Any]) -> None:
        self.said += [("warning", add_prefix(f"{name}: ", text)) for text in notes.get("warnings", ())]
        self.said += [("warning", text) for text in notes.get("once", ())]
        self._reporter.notes_of(name, notes)

    def explained(self, text: str) -> str:
        return self._reporter.explained(text)

    def progress(self, done: int, total: int, **figures: float) -> None:
        self._reporter.progress(done, total, **figures)
