"""Notes, warnings and progress that a function reports to its caller while it works."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stages.errors import add_prefix


class Reporter:
    """Receives notes, warnings and progress, and ignores them. Derive from it to show or collect them.

    A text may be a `stages.errors.Sentence`, which is a str with a `code` and `facts`.
    """

    def note(self, text: str) -> None:
        """Receive a sentence about what is being done, and why."""

    def warning(self, text: str) -> None:
        """Receive a sentence about what makes the result worse than it could be."""

    def warn_about(self, name: str, notes: Mapping[str, Any]) -> None:
        """Report the warnings in a stage's `notes`: "warnings" are about the input `name`, and "once" are about the whole run."""
        for text in notes.get("warnings", ()):
            self.warning(f"{name}: {text}")
        for text in notes.get("once", ()):
            self.warning(text)

    def add_hint(self, text: str) -> str:
        """The text with a hint in terms of the caller's interface, such as its command line. Here the text is returned unchanged.

        It is called for the warnings on the page of a report.
        """
        return text

    def progress(self, done: int, total: int, **figures: float) -> None:
        """Receive the number of finished frames or steps, and their total number. figures: for example the loss."""


class RecordingReporter(Reporter):
    """Passes everything on to another reporter, and records notes and warnings as (kind, text)."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self.messages: list[tuple[str, str]] = []

    def note(self, text: str) -> None:
        self.messages.append(("note", text))
        self._reporter.note(text)

    def warning(self, text: str) -> None:
        self.messages.append(("warning", text))
        self._reporter.warning(text)

    def warn_about(self, name: str, notes: Mapping[str, Any]) -> None:
        self.messages += [("warning", add_prefix(f"{name}: ", text)) for text in notes.get("warnings", ())]
        self.messages += [("warning", text) for text in notes.get("once", ())]
        self._reporter.warn_about(name, notes)

    def add_hint(self, text: str) -> str:
        return self._reporter.add_hint(text)

    def progress(self, done: int, total: int, **figures: float) -> None:
        self._reporter.progress(done, total, **figures)
