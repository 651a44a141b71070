"""A pool of spawned processes that survives the death of its workers.

Each worker has its own pipe and one input at a time. So if a worker dies, its input is known, and a new worker tries it once more.
Workers live as long as the run, so each loads its model once. They ignore Ctrl-C, which the parent handles. On SIGTERM they raise
KeyboardInterrupt, so that a half-written layer is removed.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import FrameType

from stages.errors import Fsv2vError, Sentence
from stages.runner.feeder import Feeder
from stages.runner.report import ClipTask, InputProgress, Report
from stages.runner.work import FATAL_ERRORS, available_cores, limit_threads, run_one

_GRACE_SECONDS = 5.0
"""Seconds that a worker gets to clean up before it is killed."""


@dataclass
class _Worker:
    """A process, the pipe to it, and the input that it works on, if any."""

    process: SpawnProcess
    pipe: Connection
    source: str | None = None
    second_try: bool = False


def run_in_processes(
    task: ClipTask, sources: Iterable[str], jobs: int, on_step: Callable[[InputProgress], None] | None = None
) -> Iterator[Report]:
    """Reports in the order in which the inputs finish. At most `jobs` inputs are in progress, and as many are read ahead.

    Raises the first of FATAL_ERRORS that an input causes. When the iterator ends or is closed, all workers have ended.
    """
    feeder, workers = Feeder(sources, jobs), list[_Worker]()
    try:
        while True:
            while (idle := _idle_worker(workers)) is not None or len(workers) < jobs:
                if (source := feeder.next()) is None:
                    break
                if idle is None:
                    workers.append(idle := _start_worker(task, jobs))
                _send(idle, source)
            busy = [worker for worker in workers if worker.source is not None]
            if not busy and feeder.exhausted:
                return
            wants_input = len(busy) < jobs and not feeder.exhausted
            ready = set(wait([worker.pipe for worker in busy] + [feeder.ready] * wants_input))
            for worker in busy:
                if worker.pipe not in ready:
                    continue
                message = _receive(worker) or _replace_worker(worker, workers, task, jobs)
                if isinstance(message, Report):
                    yield message
                elif message is not None and on_step is not None:
                    on_step(message)
    finally:
        feeder.stop()
        _end_workers(workers)


def _idle_worker(workers: list[_Worker]) -> _Worker | None:
    return next((worker for worker in workers if worker.source is None), None)


def _start_worker(task: ClipTask, jobs: int) -> _Worker:
    context = multiprocessing.get_context("spawn")
    parent_end, worker_end = context.Pipe()
    # The task is pickled here, so that the worker limits its threads before it unpickles the task, which imports the stage.
    process = context.Process(target=_worker_main, args=(pickle.dumps(task), jobs, worker_end), daemon=True)
    with _ignore_interrupts():
        process.start()
    worker_end.close()
    return _Worker(process, parent_end)


@contextlib.contextmanager
def _ignore_interrupts() -> Iterator[None]:
    """Processes that are started in the block ignore Ctrl-C from their first instruction on."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


def _send(worker: _Worker, source: str) -> None:
    worker.source = source
    with contextlib.suppress(OSError):  # a dead worker is noticed when its pipe is read
        worker.pipe.send(source)


def _receive(worker: _Worker) -> Report | InputProgress | None:
    """The next message of a worker; None when it has died. Raises an error that the worker has sent."""
    try:
        message = worker.pipe.recv()
    except (EOFError, OSError):
        return None
    if isinstance(message, Fsv2vError):
        raise message
    if isinstance(message, Report):
        worker.source, worker.second_try = None, False
        return message
    assert isinstance(message, InputProgress)
    return message


def _replace_worker(worker: _Worker, workers: list[_Worker], task: ClipTask, jobs: int) -> Report | None:
    """Give the input of a dead worker to a new worker. After the second death, return a report that the input has failed."""
    worker.process.join(_GRACE_SECONDS)
    worker.pipe.close()
    workers.remove(worker)
    assert worker.source is not None
    if worker.second_try:
        reason = Sentence(f"Its worker process ended twice ({_describe_exit(worker.process.exitcode)})", code="worker-died")
        return Report(worker.source, task.layer, "failed", reason=reason, exit_code=3, source=worker.source)
    new_worker = _start_worker(task, jobs)
    new_worker.second_try = True
    workers.append(new_worker)
    _send(new_worker, worker.source)
    return None


def _describe_exit(exitcode: int | None) -> str:
    if exitcode is not None and exitcode < 0:
        return signal.Signals(-exitcode).name
    return f"exit code {exitcode}"


def _end_workers(workers: list[_Worker]) -> None:
    for worker in workers:
        if worker.source is None:
            worker.pipe.close()  # an idle worker then ends by itself
        else:
            worker.process.terminate()
    for worker in workers:
        worker.process.join(_GRACE_SECONDS)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()


def _worker_main(pickled_task: bytes, jobs: int, pipe: Connection) -> None:
    """The main function of a worker: receives inputs and sends reports until the parent closes the pipe or ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _interrupt)
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    limit_threads(available_cores() // jobs)
    logging.getLogger("stages").addHandler(logging.NullHandler())  # the parent logs the same messages
    try:
        task: ClipTask = pickle.loads(pickled_task)
        while True:
            source = pipe.recv()
            try:
                pipe.send(run_one(task, source, pipe.send))
            except FATAL_ERRORS as error:
                pipe.send(error)
    except (EOFError, BrokenPipeError, ConnectionResetError, KeyboardInterrupt):
        return


def _exit_with_parent() -> None:
    """End this worker when its parent is killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


def _interrupt(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt
