"""A reporter that prints to the console."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fsv2v.reporting import Reporter
from fsv2v_cli import console
from fsv2v_cli.hints import with_hint
from fsv2v_cli.reports import warn_about


class ConsoleReporter(Reporter):
    """Prints notes and warnings, and moves a progress bar."""

    def __init__(self, move: Callable[..., None] = lambda done, total, **figures: None) -> None:
        self._move = move

    def note(self, text: str) -> None:
        console.note(text)

    def warning(self, text: str) -> None:
        console.warning(text)

    def warn_about(self, name: str, notes: Mapping[str, Any]) -> None:
        warn_about(name, notes)

    def add_hint(self, text: str) -> str:
        return with_hint(text)

    def progress(self, done: int, total: int, **figures: float) -> None:
        self._move(done, total, **figures)
