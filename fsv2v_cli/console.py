"""Output of the command line. Data goes to stdout, everything else to stderr.

    emit(path or mapping)      one line of data on stdout, flushed; a mapping as JSON
    note, warning              a message on stderr, unless -q
    detail                     a message on stderr with -v
    error                      `fsv2v: error: ...` on stderr, always
    progress(what, total)      a bar on stderr: `with progress("training", 1000) as bar: bar.advance(1, loss=0.3)`
    events(what)               a callback that shows what a stage reports: `with events("training") as on_event: train(..., on_event)`
    table(title, names, rows)  a table on stderr, for people

With -q, and in all torchrun processes but the first, only errors are printed. Bars are shown only on a terminal. A `stages.errors.Sentence`
is printed with its hint (hints.py).
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import sys
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from fsv2v_cli.hints import with_hint
from stages.errors import Sentence

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

Event = Mapping[str, Any]
"""What a stage reports while it works. "message" and "warning" are sentences to print, "done" and "total" move the bar, and other values
are shown beside the bar."""


@dataclass
class _Settings:
    quiet: bool = False
    verbose: bool = False


_settings = _Settings()


def configure(quiet: bool, verbose: bool) -> None:
    """Set how much is printed, and start printing the warnings that the library logs. It is called before a command runs."""
    _settings.quiet, _settings.verbose = quiet or not is_first_rank(), verbose
    logging.getLogger("stages").addHandler(_WARNINGS)


class _WarningHandler(logging.Handler):
    """Prints the warnings that the library logs."""

    def emit(self, record: logging.LogRecord) -> None:
        warning(record.getMessage())


_WARNINGS = _WarningHandler(logging.WARNING)


def is_first_rank() -> bool:
    """Whether this is the first process of torchrun, which is the one that prints, or the only process."""
    return os.environ.get("RANK", "0") == "0"


def debugging() -> bool:
    """Whether tracebacks are printed, by the environment variable FSV2V_DEBUG."""
    return os.environ.get("FSV2V_DEBUG", "") not in ("", "0")


class StdoutClosed(BaseException):
    """The reader of stdout has closed it. The program ends without a message. Not an Exception, so that no input is reported as failed."""


class StdoutWriteError(click.ClickException):
    """Writing to stdout failed, for example because the disk is full. The program ends, because later lines would fail, too."""

    exit_code = 3

    def __init__(self, reason: OSError) -> None:
        super().__init__(f"cannot write to stdout: {reason.strerror}. Run the same command again to continue")


def emit(data: str | Path | Mapping[str, Any]) -> None:
    """Print one line of data to stdout and flush. Raises StdoutClosed and StdoutWriteError."""
    line = _json(data) if isinstance(data, Mapping) else os.fspath(data)
    try:
        with _hide_bar():
            stream = _real_stdout or sys.stdout.buffer
            stream.write(os.fsencode(escape(line) if stream.isatty() else line) + b"\n")  # programs receive the exact bytes
            stream.flush()
    except BrokenPipeError as error:
        raise StdoutClosed from error
    except OSError as error:
        raise StdoutWriteError(error) from error


def _json(data: Mapping[str, Any]) -> str:
    """JSON in one line. Numbers that are not finite become null. If a character is not printable, all that are not ASCII are escaped."""
    data = _json_value(data)
    line = json.dumps(data, ensure_ascii=False, allow_nan=False)
    return line if line.isprintable() else json.dumps(data)


def _json_value(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _json_value(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json_value(item) for item in value]
    if isinstance(value, Sentence):
        return with_hint(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


_real_stdout: BinaryIO | None = None
"""Where `emit` writes in the block of `only_data_on_stdout`."""


@contextlib.contextmanager
def only_data_on_stdout() -> Iterator[None]:
    """In the block, discard what libraries print to stdout. Ray, for example, prints a message when a worker dies."""
    global _real_stdout
    _real_stdout = sys.stdout.buffer
    try:
        with open(os.devnull, "w") as null_device, contextlib.redirect_stdout(null_device):
            yield
    finally:
        _real_stdout = None


@contextlib.contextmanager
def _hide_bar() -> Iterator[None]:
    """Hide the progress bar in the block, unless stdout is redirected and its lines cannot mix with the bar."""
    bar = _active_progress if _active_progress is not None and os.isatty(1) else None
    if bar is not None:
        bar.stop()
    try:
        yield
    finally:
        if bar is not None:
            bar.start()


def note(text: str) -> None:
    if not _settings.quiet:
        _print(with_hint(text))


def detail(text: str) -> None:
    if _settings.verbose and not _settings.quiet:
        _print(text)


def warning(text: str) -> None:
    if not _settings.quiet:
        _print(f"fsv2v: warning: {with_hint(text)}")


def error(text: str) -> None:
    _print(f"fsv2v: error: {with_hint(text)}")


def print_traceback(traceback: str) -> None:
    """Print a traceback to stderr, for FSV2V_DEBUG=1."""
    for line in traceback.splitlines():
        _print(line)


def escape(text: str) -> str:
    """The text with control characters escaped, so that a file name cannot change colours, clear the terminal or take several lines."""
    return "".join(f"\\x{ord(character):02x}" if unicodedata.category(character) in _UNSAFE else character for character in text)


_UNSAFE = ("Cc", "Cf")
"""The Unicode categories of control characters and of format characters, which can reverse the direction of writing."""


def _print(text: str) -> None:
    """Print to stderr, above the progress bar if one is shown. Brackets in `text` are not taken as rich's markup."""
    text = escape(text)
    with contextlib.suppress(OSError):  # stderr may be closed, or a file on a full disk
        if _active_progress is not None:
            _active_progress.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            print(text.encode(errors="replace").decode(), file=sys.stderr, flush=True)


_active_progress: Progress | None = None


class Bar:
    """A progress bar. Without `progress` and `task` nothing is shown."""

    def __init__(self, progress: Progress | None = None, task: TaskID | None = None, unit: str = "") -> None:
        self._unit = unit
        self._progress, self._task = progress, task
        self._done, self._total, self._shown_values = 0.0, None if progress is None or task is None else progress.tasks[task].total, ""

    def advance(self, amount: float = 1, **values: Any) -> None:
        """Add `amount` to what is done. `values` are shown beside the bar."""
        self.move(self._done + amount, **values)

    def move(self, done: float, total: float | None = None, **values: Any) -> None:
        """Set what is done and, unless it is None, the total. `values` are shown beside the bar."""
        self._done = done
        self._total = self._total if total is None else total
        if values:
            self._shown_values = "  ".join(
                f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in values.items()
            )
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=done, total=self._total, count=self._count(), beside=self._shown_values)

    def _count(self) -> str:
        done, total = f"{int(self._done)}", "" if self._total is None else f"/{int(self._total)}"
        return f"{done}{total} {self._unit}".rstrip()


@contextlib.contextmanager
def progress(what: str, total: float | None, unit: str = "") -> Iterator[Bar]:
    """A progress bar with elapsed and remaining time, while the block runs. total: None if unknown. Of nested bars only the outer is
    shown."""
    global _active_progress
    if _settings.quiet or not sys.stderr.isatty() or _active_progress is not None:
        yield Bar()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[count]}"), TextColumn("{task.fields[beside]}"))
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=Console(stderr=True), transient=True) as rich_progress:
        _active_progress = rich_progress
        try:
            yield Bar(rich_progress, rich_progress.add_task(what, total=total, count="", beside=""), unit)
        finally:
            _active_progress = None


@contextlib.contextmanager
def events(what: str, unit: str = "") -> Iterator[Callable[[Event], None]]:
    """A callback for events of a stage (see Event), while the block runs."""
    with progress(what, None, unit) as bar:

        def on_event(event: Event) -> None:
            if "message" in event:
                note(event["message"])
            if "warning" in event:
                warning(event["warning"])
            if "done" in event:
                beside = {name: value for name, value in event.items() if name not in ("message", "warning", "done", "total")}
                bar.move(event["done"], event.get("total"), **beside)

        yield on_event


def align_columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """A table as lines with aligned columns, for `emit`."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def table(title: str, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a table on stderr, for people; scripts read the data on stdout."""
    if _settings.quiet:
        return
    from rich.console import Console
    from rich.table import Table

    rich_table = Table(title=title)
    for name in names:
        rich_table.add_column(name)
    for row in rows:
        rich_table.add_row(*(escape(str(cell)) for cell in row))
    Console(stderr=True).print(rich_table, markup=False)
