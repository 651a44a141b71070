"""Running a stage on one input, in any process. Errors that concern this input alone become a Report."""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.errors import Fsv2vError, InProgress, MissingRequirement, Sentence, UsageError, was_interrupted
from stages.io.files import discard, shared_lock, wait_for_lock
from stages.runner.report import ClipTask, InputProgress, Outcome, Report

if TYPE_CHECKING:
    from stages.clip import Clip

FATAL_ERRORS = (MissingRequirement, UsageError)
"""Errors that every other input would raise, too; they end the run."""


def run_one(task: ClipTask, source: str, on_step: Callable[[InputProgress], None] | None = None) -> Report:
    """Run `task` on the input at `source`. Raises FATAL_ERRORS and KeyboardInterrupt; other errors become a failed Report."""
    started = time.perf_counter()
    try:
        if task.opens_clips:
            path, outcome = _run_on_clip(task, source, on_step)
        else:
            path, outcome = source, import_function(task.function)(source, task.options, on_step)
    except FATAL_ERRORS:
        raise
    except ModuleNotFoundError as error:
        raise missing_package(error) from error
    except Exception as error:
        if was_interrupted(error):
            raise KeyboardInterrupt from error
        return _failed_report(task, source, error, time.perf_counter() - started)
    seconds = time.perf_counter() - started
    return Report(outcome.path or path, outcome.layer, outcome.status, outcome.frames, seconds, notes=outcome.notes, source=source)


def _run_on_clip(task: ClipTask, source: str, on_step: Callable[[InputProgress], None] | None) -> tuple[str, Outcome]:
    from stages.clip.create import clip_path

    target = clip_path(Path(source), task.out)
    is_new, is_at_target = not target.exists(), False
    stage = import_function(task.function)
    try:
        with _open_locked_clip(source, task.out) as clip:
            is_at_target = clip.path == target
            clip_to_read = _watch_progress(clip, source, on_step) if on_step else clip
            return str(clip.path), _run_or_wait(lambda: stage(clip_to_read, task.options, task.overwrite))
    except Fsv2vError:
        if is_new and is_at_target:
            _discard_if_empty(target)
        raise


def _run_or_wait(stage: Callable[[], Outcome]) -> Outcome:
    """Run the stage. While another process makes the same output, wait for it, then run the stage again, which checks that output."""
    while True:
        try:
            return stage()
        except InProgress as error:
            if error.target is not None:
                wait_for_lock(error.target)


@contextlib.contextmanager
def _open_locked_clip(source: str, out: str | None) -> Iterator[Clip]:
    """The clip of `source`, which other processes cannot remove in the block. If one has just removed it, it is made again."""
    from stages.clip import as_clip

    with contextlib.ExitStack() as stack:
        for _ in range(10):
            clip = as_clip(source, out)
            with contextlib.suppress(FileNotFoundError):
                stack.enter_context(shared_lock(clip.path))
                break
        yield clip


def _discard_if_empty(path: Path) -> None:
    """Remove a new clip to which no layer was added, unless another process uses it."""
    from stages.clip import open_clip

    if {*open_clip(path).layers()} <= {"frames", "audio"}:
        discard(path)


def _failed_report(task: ClipTask, source: str, error: Exception, seconds: float) -> Report:
    reason, exit_code = _reason_and_exit_code(error)
    trace = "".join(traceback.format_exception(error))
    return Report(source, task.layer, "failed", 0, seconds, reason, {}, exit_code, trace, source)


def missing_package(error: ModuleNotFoundError) -> MissingRequirement:
    """The error for a required package that is not installed."""
    return MissingRequirement(f"The Python package {error.name} is not installed", code="package-missing")


def _watch_progress(clip: Clip, source: str, on_step: Callable[[InputProgress], None]) -> Clip:
    from stages.runner.watched import WatchedClip

    return WatchedClip(clip, lambda read, frames: on_step(InputProgress(source, read, frames)))


def import_function(function: str) -> Callable[..., Any]:
    """The function at an import path "package.module:name"."""
    module, _, name = function.partition(":")
    imported: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return imported


def limit_threads(threads: int) -> None:
    """Limit the threads of libraries in this process. Call it before they are imported.

    Environment variables that the user has set are kept.
    """
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"):
        os.environ.setdefault(variable, str(max(1, threads)))
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    if "cv2" in sys.modules:
        sys.modules["cv2"].setNumThreads(int(os.environ["OPENCV_FOR_THREADS_NUM"]))


def available_cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _reason_and_exit_code(error: Exception) -> tuple[str, int]:
    """The message and the exit code for a failed input."""
    if isinstance(error, Fsv2vError):
        return str(error), error.exit_code
    if isinstance(error, OSError) and error.errno is not None:
        hint = ". Free some space and run the same command again" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        filename = f": {error.filename}" if error.filename else ""
        return f"{os.strerror(error.errno)}{filename}{hint}", 3
    if isinstance(error, MemoryError):
        return Sentence("There is not enough memory for this input", code="out-of-memory"), 3
    return f"Unexpected {type(error).__name__}: {error}. FSV2V_DEBUG=1 shows where", 1
