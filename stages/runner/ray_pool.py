"""The workers of the Ray engine: giving them inputs, and handling their deaths."""

from __future__ import annotations

import contextlib
import os
import pickle
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from stages.errors import Fsv2vError, MissingRequirement, Sentence
from stages.runner.ray_worker import RayWorker
from stages.runner.report import ClipTask, InputProgress, Report

_GRACE_SECONDS = 5.0
"""Time for workers to clean up before they are killed."""
_POLL_SECONDS, _REFRESH_SECONDS = 1.0, 5.0
"""Seconds between two requests for progress, and between two requests for the nodes of the cluster."""
_MAX_DEATHS, _MAX_NODE_DEATHS = 2, 5
"""An input fails after this number of deaths of its worker, or of its worker's node."""
_MAX_FAILED_STARTS = 3
"""The run fails after this number of workers in a row that died before they were ready."""


@dataclass
class Input:
    """An input, and how often its worker or the worker's node has died."""

    source: str
    deaths: int = 0
    node_deaths: int = 0


@dataclass
class Worker:
    """An actor. node: the id of its node, "" until it is ready; input: its current input; pending: the future of the progress request."""

    actor: Any
    node: str = ""
    input: Input | None = None
    pending: Any = None


class RayPool:
    """The workers, and the inputs that wait for a worker. `ray` is the module, connected to a cluster."""

    def __init__(self, ray: Any, task: ClipTask, jobs: int) -> None:
        self._ray, self._task, self._jobs = ray, task, jobs
        self._idle_workers: list[Worker] = []
        self._starting: dict[Any, Worker] = {}  # the future of the answer -> worker
        self._busy_workers: dict[Any, Worker] = {}
        self._failed_starts, self._poll_time = 0, 0.0
        self.waiting: deque[Input] = deque()
        self._refresh()
        self._threads = threads_per_worker(self._cores.values(), self.num_workers)
        options = {"num_cpus": self._threads, "max_restarts": 0, "max_task_retries": 0, "concurrency_groups": {"control": 1}}
        self._actor = ray.remote(**options)(RayWorker)

    @property
    def num_workers(self) -> int:
        """Largest number of workers."""
        return self._jobs if self._jobs > 1 else max(1, sum(self._cores.values()))

    @property
    def num_unfinished(self) -> int:
        return len(self._busy_workers) + len(self.waiting)

    @property
    def has_room(self) -> bool:
        return self.num_unfinished < self.num_workers

    def assign(self) -> None:
        """Give waiting inputs to idle workers, and start more workers if needed."""
        while self.waiting and self._idle_workers:
            worker, item = self._idle_workers.pop(), self.waiting.popleft()
            worker.input = item
            self._busy_workers[worker.actor.run.remote(item.source)] = worker
        while len(self._starting) < min(len(self.waiting), self.num_workers - len(self._busy_workers)):
            worker = Worker(self._actor.remote(pickle.dumps(self._task), os.getcwd(), self._threads))
            self._starting[worker.actor.start.remote()] = worker

    def reports(self, seconds: float) -> Iterator[Report]:
        """Wait up to `seconds` for an answer of any worker, and yield it if it is a report."""
        ready, _ = self._ray.wait([*self._busy_workers, *self._starting], num_returns=1, timeout=seconds)
        for future in ready:
            worker = self._busy_workers.pop(future, None) or self._starting.pop(future)
            try:
                answer = self._ray.get(future)
            except self._ray.exceptions.RayError as error:
                yield from self._handle_death(worker, error)
                continue
            if isinstance(answer, Fsv2vError):
                raise answer
            worker.input = None
            self._idle_workers.append(worker)
            if isinstance(answer, Report):
                yield answer
            else:
                worker.node, self._failed_starts = answer, 0
        if time.monotonic() - self._refresh_time >= _REFRESH_SECONDS:
            self._refresh()

    def progress(self) -> Iterator[InputProgress]:
        """The latest progress of the busy workers, at most once per second."""
        if time.monotonic() - self._poll_time < _POLL_SECONDS:
            return
        self._poll_time = time.monotonic()
        pending = {worker.pending: worker for worker in self._busy_workers.values() if worker.pending is not None}
        for future in self._ray.wait(list(pending), num_returns=len(pending), timeout=0)[0] if pending else ():
            worker = pending[future]
            worker.pending = None
            with contextlib.suppress(self._ray.exceptions.RayError):  # its report will show the error
                progress = self._ray.get(future)
                if progress is not None and worker.input is not None and progress.source == worker.input.source:
                    yield progress
        for worker in self._busy_workers.values():
            if worker.pending is None:
                worker.pending = worker.actor.progress.options(concurrency_group="control").remote()

    def end_workers(self) -> None:
        """End all workers. Busy ones get _GRACE_SECONDS to clean up."""
        for worker in self._busy_workers.values():
            worker.actor.stop.options(concurrency_group="control").remote()
        if self._busy_workers:
            self._ray.wait(list(self._busy_workers), num_returns=len(self._busy_workers), timeout=_GRACE_SECONDS)
        for worker in [*self._busy_workers.values(), *self._starting.values(), *self._idle_workers]:
            self._kill(worker)

    def _handle_death(self, worker: Worker, error: Exception) -> Iterator[Report]:
        """Put the input of a dead worker back into the queue, or report it as failed after too many deaths."""
        node_died = self._node_died(worker, error)
        if node_died:
            self._drop_node(worker.node)
        self._kill(worker)
        if worker.input is None:
            self._count_failed_start(error, node_died)
            return
        input_ = worker.input
        input_.deaths += not node_died
        input_.node_deaths += node_died
        if input_.deaths < _MAX_DEATHS and input_.node_deaths < _MAX_NODE_DEATHS:
            self.waiting.appendleft(input_)
            return
        cause = "worker process ended twice" if input_.deaths == _MAX_DEATHS else f"node died {_MAX_NODE_DEATHS} times"
        reason = Sentence(f"Its {cause} on the Ray cluster", code="worker-died")
        yield Report(input_.source, self._task.layer, "failed", reason=reason, exit_code=3, traceback=str(error), source=input_.source)

    def _node_died(self, worker: Worker, error: Exception) -> bool:
        """Whether the worker died with its node. A lost connection counts, since Ray declares the node dead only much later."""
        unavailable = getattr(self._ray.exceptions, "ActorUnavailableError", ())
        self._refresh()
        return isinstance(error, unavailable) or "node has died" in str(error) or bool(worker.node) and worker.node not in self._cores

    def _drop_node(self, node: str) -> None:
        """Drop the idle workers of a node that seems to be dead."""
        for worker in [worker for worker in self._idle_workers if worker.node == node]:
            self._idle_workers.remove(worker)
            self._kill(worker)

    def _count_failed_start(self, error: Exception, node_died: bool) -> None:
        self._failed_starts += not node_died
        if self._failed_starts >= _MAX_FAILED_STARTS:
            reason = str(error).strip().splitlines()[-1].strip()
            hint = "Install the same versions of fsv2v, Python and Ray on all nodes"
            raise MissingRequirement(f"No worker can start on the Ray cluster ({reason})", hint=hint) from error

    def _kill(self, worker: Worker) -> None:
        with contextlib.suppress(self._ray.exceptions.RayError):
            self._ray.kill(worker.actor)

    def _refresh(self) -> None:
        """Update the list of live nodes and their numbers of cores."""
        self._refresh_time = time.monotonic()
        self._cores = {node["NodeID"]: int(node["Resources"].get("CPU", 0)) for node in self._ray.nodes() if node["Alive"]}


def threads_per_worker(cores_of_nodes: Iterable[int], workers: int) -> int:
    """The largest number of cores per worker for which all `workers` fit on the nodes; 1 if there are more workers than cores."""
    nodes = list(cores_of_nodes)
    candidates = range(sum(nodes) // workers, 0, -1)
    return next((threads for threads in candidates if sum(cores // threads for cores in nodes) >= workers), 1)
