"""A pool of spawned processes that survives the death of its workers.

Each worker has its own pipe and holds one input at a time; the input of a killed worker is known, and is given once more to a new worker.
Workers live as long as the run and so load a model once. They ignore Ctrl-C (the parent decides) and end on SIGTERM through
KeyboardInterrupt, so that a half-written layer is cleaned up.
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
from stages.runner.report import ClipTask, Report, Step
from stages.runner.work import CONCERNS_ALL, cores, limit_threads, run_one

_GRACE = 5.0
"""Seconds that a worker gets to clean up before it is killed."""


@dataclass
class _Worker:
    """A process, the pipe to it, and the input that it works on, if any."""

    process: SpawnProcess
    pipe: Connection
    source: str | None = None
    second_try: bool = False


def run_in_processes(task: ClipTask, sources: Iterable[str], jobs: int, on_step: Callable[[Step], None] | None = None) -> Iterator[Report]:
    """Reports in the order in which the inputs finish. At most `jobs` inputs are in flight, and as many wait.

    Raises CONCERNS_ALL at the first input with such an error. No worker is left, however it ends.
    """
    feeder, workers = Feeder(sources, jobs), list[_Worker]()
    try:
        while True:
            while (idle := _idle(workers)) is not None or len(workers) < jobs:
                if (source := feeder.next()) is None:
                    break
                if idle is None:
                    workers.append(idle := _start(task, jobs))
                _give(idle, source)
            busy = [worker for worker in workers if worker.source is not None]
            if not busy and feeder.exhausted:
                return
            more = len(busy) < jobs and not feeder.exhausted
            ready = set(wait([worker.pipe for worker in busy] + [feeder.bell] * more))
            for worker in busy:
                if worker.pipe not in ready:
                    continue
                answer = _answer(worker) or _revive(worker, workers, task, jobs)
                if isinstance(answer, Report):
                    yield answer
                elif answer is not None and on_step is not None:
                    on_step(answer)
    finally:
        feeder.stop()
        _end(workers)


def _idle(workers: list[_Worker]) -> _Worker | None:
    return next((worker for worker in workers if worker.source is None), None)


def _start(task: ClipTask, jobs: int) -> _Worker:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    # The task travels pickled twice, so that the worker limits its threads before unpickling loads the stage.
    process = context.Process(target=_work, args=(pickle.dumps(task), jobs, theirs), daemon=True)
    with _interrupts_ignored():
        process.start()
    theirs.close()
    return _Worker(process, ours)


@contextlib.contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Processes started in the block never receive Ctrl-C, not even while they are importing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _give(worker: _Worker, source: str) -> None:
    worker.source = source
    with contextlib.suppress(OSError):  # a dead worker is noticed when its pipe is read
        worker.pipe.send(source)


def _answer(worker: _Worker) -> Report | Step | None:
    """A worker's message about its input; None when it has died."""
    try:
        answer = worker.pipe.recv()
    except (EOFError, OSError):
        return None
    if isinstance(answer, Fsv2vError):
        raise answer
    if isinstance(answer, Report):
        worker.source, worker.second_try = None, False
        return answer
    assert isinstance(answer, Step)
    return answer


def _revive(worker: _Worker, workers: list[_Worker], task: ClipTask, jobs: int) -> Report | None:
    """Give the input of a dead worker to a new one; after its second death, report it as failed."""
    worker.process.join(_GRACE)
    worker.pipe.close()
    workers.remove(worker)
    assert worker.source is not None
    if worker.second_try:
        reason = Sentence(f"Its worker process ended twice ({_cause(worker.process.exitcode)})", code="worker-died")
        return Report(worker.source, task.layer, "failed", reason=reason, exit_code=3, source=worker.source)
    fresh = _start(task, jobs)
    fresh.second_try = True
    workers.append(fresh)
    _give(fresh, worker.source)
    return None


def _cause(exitcode: int | None) -> str:
    if exitcode is not None and exitcode < 0:
        return signal.Signals(-exitcode).name
    return f"exit code {exitcode}"


def _end(workers: list[_Worker]) -> None:
    for worker in workers:
        if worker.source is None:
            worker.pipe.close()  # an idle worker then ends by itself
        else:
            worker.process.terminate()
    for worker in workers:
        worker.process.join(_GRACE)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()


def _work(pickled_task: bytes, jobs: int, pipe: Connection) -> None:
    """The main loop of a worker: receives inputs and sends reports until the parent closes the pipe or ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _interrupt)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    limit_threads(cores() // jobs)
    logging.getLogger("stages").addHandler(logging.NullHandler())  # the parent has logged the same
    try:
        task: ClipTask = pickle.loads(pickled_task)
        while True:
            source = pipe.recv()
            try:
                pipe.send(run_one(task, source, pipe.send))
            except CONCERNS_ALL as error:
                pipe.send(error)
    except (EOFError, BrokenPipeError, ConnectionResetError, KeyboardInterrupt):
        return


def _end_with_parent() -> None:
    """End this worker when its parent is killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


def _interrupt(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt
