"""Options of models that several commands share, and a reporter that prints to the console."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import click

from fsv2v.reporting import Reporter
from fsv2v_cli import console
from fsv2v_cli.hints import with_hint
from fsv2v_cli.options import path_option
from fsv2v_cli.reports import warn_of

base_option = path_option("--base", metavar="FILE", help="The model that a finetuned one was made from, if it is not found by itself.")
perceptual_option = click.option(
    "--perceptual",
    type=click.Choice(["auto", "squeezenet", "squeezenet-1.1", "vgg19", "none"]),
    default="auto",
    show_default=True,
    help="Feature network of the perceptual loss. auto: squeezenet if its weights are present, else squeezenet-1.1 if they can be fetched "
    "(5 MB), else none; vgg19 for the paper's presets and the models that they made.",
)


class ConsoleReporter(Reporter):
    """Prints notes and warnings, and moves a progress bar."""

    def __init__(self, move: Callable[..., None] = lambda done, total, **figures: None) -> None:
        self._move = move

    def note(self, text: str) -> None:
        console.note(text)

    def warning(self, text: str) -> None:
        console.warning(text)

    def notes_of(self, name: str, notes: Mapping[str, Any]) -> None:
        warn_of(name, notes)

    def explained(self, text: str) -> str:
        return with_hint(text)

    def progress(self, done: int, total: int, **figures: float) -> None:
        self._move(done, total, **figures)
