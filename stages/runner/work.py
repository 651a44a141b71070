"""The work on one input, in any process. Errors of a single input become a Report."""

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
from stages.io.files import discard, using, wait_for
from stages.runner.report import ClipTask, Outcome, Report, Step

if TYPE_CHECKING:
    from stages.clip import Clip

CONCERNS_ALL = (MissingRequirement, UsageError)
"""Errors that every other input would raise as well: they end the run."""


def run_one(task: ClipTask, source: str, on_step: Callable[[Step], None] | None = None) -> Report:
    """Run `task` on the input at `source`. Raises only CONCERNS_ALL (and KeyboardInterrupt); other errors become a failed Report."""
    begun = time.perf_counter()
    try:
        path, outcome = _on_clip(task, source, on_step) if task.of_clips else (source, load(task.function)(source, task.options, on_step))
    except CONCERNS_ALL:
        raise
    except ModuleNotFoundError as error:
        raise missing_package(error) from error
    except Exception as error:
        if was_interrupted(error):
            raise KeyboardInterrupt from error
        return _failure(task, source, error, time.perf_counter() - begun)
    seconds = time.perf_counter() - begun
    return Report(path, outcome.layer, outcome.status, outcome.frames, seconds, notes=outcome.notes, source=source)


def _on_clip(task: ClipTask, source: str, on_step: Callable[[Step], None] | None) -> tuple[str, Outcome]:
    from stages.clip.create import clip_path

    target = clip_path(Path(source), task.out)
    fresh, begun = not target.exists(), False
    stage = load(task.function)
    try:
        with _clip_in_use(source, task.out) as clip:
            begun = clip.path == target
            watched = _watched(clip, source, on_step) if on_step else clip
            return str(clip.path), _in_turn(lambda: stage(watched, task.options, task.overwrite))
    except Fsv2vError:
        if fresh and begun:
            _forget_bare(target)
        raise


def _in_turn(stage: Callable[[], Outcome]) -> Outcome:
    """Run the stage; while another process makes the same output, wait for it and run the stage again, which then checks that output."""
    while True:
        try:
            return stage()
        except InProgress as other:
            if other.target is not None:
                wait_for(other.target)


@contextlib.contextmanager
def _clip_in_use(source: str, out: str | None) -> Iterator[Clip]:
    """The clip of `source`, protected from removal by other processes; if one of them has just removed it, it is made again."""
    from stages.clip import as_clip

    with contextlib.ExitStack() as stack:
        for _ in range(10):
            clip = as_clip(source, out)
            with contextlib.suppress(FileNotFoundError):
                stack.enter_context(using(clip.path))
                break
        yield clip


def _forget_bare(path: Path) -> None:
    """Remove a new clip in which nothing was found, unless another process uses it or has added a layer."""
    from stages.clip import open_clip

    if {*open_clip(path).layers()} <= {"frames", "audio"}:
        discard(path)


def _failure(task: ClipTask, source: str, error: Exception, seconds: float) -> Report:
    reason, exit_code = _sentence(error)
    where = "".join(traceback.format_exception(error))
    return Report(source, task.layer, "failed", 0, seconds, reason, {}, exit_code, where, source)


def missing_package(error: ModuleNotFoundError) -> MissingRequirement:
    """The error for a required package that is not installed."""
    return MissingRequirement(f"The Python package {error.name} is not installed", code="package-missing")


def _watched(clip: Clip, source: str, on_step: Callable[[Step], None]) -> Clip:
    from stages.runner.watched import WatchedClip

    return WatchedClip(clip, lambda read, frames: on_step(Step(source, read, frames)))


def load(function: str) -> Callable[..., Any]:
    """The function at an import path "package.module:name"."""
    module, _, name = function.partition(":")
    loaded: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return loaded


def limit_threads(threads: int) -> None:
    """Limit the threads of libraries in a worker to its share of the cores; called before anything else.

    Variables that the user has set in the environment are kept.
    """
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"):
        os.environ.setdefault(variable, str(max(1, threads)))
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    if "cv2" in sys.modules:
        sys.modules["cv2"].setNumThreads(int(os.environ["OPENCV_FOR_THREADS_NUM"]))


def cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _sentence(error: Exception) -> tuple[str, int]:
    if isinstance(error, Fsv2vError):
        return str(error), error.exit_code
    if isinstance(error, OSError) and error.errno is not None:
        hint = ". Free some space and run the same command again" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        where = f": {error.filename}" if error.filename else ""
        return f"{os.strerror(error.errno)}{where}{hint}", 3
    if isinstance(error, MemoryError):
        return Sentence("There is not enough memory for this input", code="out-of-memory"), 3
    return f"Unexpected {type(error).__name__}: {error}. FSV2V_DEBUG=1 shows where", 1
