"""Run a per-clip stage over all inputs of a command, with progress, a report for each input, and the exit code."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from fsv2v_cli.console import Bar, debugging, detail, emit, error, only_data_on_stdout, print_traceback, progress, warning
from stages.errors import add_prefix

if TYPE_CHECKING:
    from fsv2v_cli.options import Inputs, Run
    from stages.runner import FailureList, InputProgress, Report

OnStep: TypeAlias = "Callable[[InputProgress], None]"


def run_over_clips(function: str, inputs: Inputs, options: Any, run: Run, layer: str) -> int:
    """Run the per-clip stage at the import path `function` over all inputs, print a report for each, and return the exit code.

    layer: the layer in the reports of failed inputs.
    """
    from stages.runner import ClipTask
    from stages.runner import run_over_clips as stream

    task = ClipTask(function, options, None if run.out is None else str(run.out), run.overwrite, layer)

    def reports(on_step: OnStep) -> Generator[Report, None, None]:
        return stream(task, inputs, run.jobs, run.shard, run.engine, run.keep_going, on_step, run.address)

    return print_reports(reports, inputs, run, layer, "clips")


def print_reports(reports: Callable[[OnStep], Generator[Report, None, None]], inputs: Inputs, run: Run, what: str, unit: str) -> int:
    """Print each report when it is finished, list the failed inputs, and return the exit code.

    reports: called with a function that receives progress; returns a generator of reports. what, unit: the words beside the progress bar.
    """
    from stages.runner import exit_code

    total = inputs.total
    in_shard = None if total is None else len(range(run.shard[0], total, run.shard[1]))
    failures: set[int] = set()
    with progress(what, in_shard, unit) as bar, _failure_list(run.failures, inputs.null) as failure_list:
        clip_progress = _ClipProgress(bar)
        with only_data_on_stdout(), contextlib.closing(reports(clip_progress.step)) as stream:
            for report in stream:
                clip_progress.finish(report)
                if report.status == "failed":
                    failures.add(report.exit_code)
                    failure_list.add(report.source)
                print_report(report, run.json)
        if run.shard[1] == 1 and (run.keep_going or not failures):  # otherwise some inputs were not tried, and the old list is kept
            failure_list.complete()
    return exit_code(failures)


@contextlib.contextmanager
def _failure_list(path: str | None, null: bool) -> Iterator[FailureList]:
    """The list of failed inputs in the file of --failures, or in the null device without the option."""
    from stages.runner import FailureList

    with contextlib.closing(FailureList(path or os.devnull, b"\0" if null else b"\n")) as failure_list:
        yield failure_list


class _ClipProgress:
    """Moves a bar that counts clips. Clips in progress count by the share of their frames that are finished."""

    def __init__(self, bar: Bar) -> None:
        self._bar, self._done, self._frames, self._start_time = bar, 0, 0, time.monotonic()
        self._latest: dict[str, InputProgress] = {}  # of each clip in progress

    def step(self, step: InputProgress) -> None:
        previous = self._latest.get(step.source)
        self._frames += max(0, step.read - (previous.read if previous else 0))
        self._latest[step.source] = step
        self._show()

    def finish(self, report: Report) -> None:
        self._done += 1
        self._latest.pop(report.source, None)
        self._show()

    def _show(self) -> None:
        in_progress = sum(min(0.99, step.read / max(1, step.frames)) for step in self._latest.values())
        rate = self._frames / max(1e-3, time.monotonic() - self._start_time)
        self._bar.move(self._done + in_progress, **({"frames/s": round(rate, 1)} if rate else {}))


def print_report(report: Report, as_json: bool) -> None:
    """Print the result of one input: its path or, as JSON, its report on stdout; errors and warnings on stderr."""
    if as_json:
        emit(report.json())
    elif report.status != "failed":
        emit(report.clip)
    if report.status == "failed":
        error(report.reason if report.clip in report.reason else add_prefix(f"{report.clip}: ", report.reason))
        if debugging() and report.traceback:
            print_traceback(report.traceback)
        return
    warn_about(report.clip, report.notes)
    detail(f"{report.clip}: {report.layer} {report.status}, {report.frames} frames in {report.seconds:.1f} s")


_warned_once: set[str] = set()


def warn_about(name: str, notes: Mapping[str, Any]) -> None:
    """Print the warnings in a stage's `notes`: "warnings" are about the input `name`; each of "once" is printed only the first time."""
    for text in notes.get("warnings", ()):
        warning(add_prefix(f"{name}: ", text))
    for text in notes.get("once", ()):
        if text not in _warned_once:
            _warned_once.add(text)
            warning(text)
