"""The workers of the Ray engine, and their inputs when one of them dies."""

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
from stages.runner.report import ClipTask, Report, Step

_GRACE = 5.0
"""Seconds that workers get to clean up before they are killed."""
_POLL, _REFRESH = 1.0, 5.0
"""Seconds between two requests for progress, and between two for the nodes of the cluster."""
_DEATHS, _NODE_DEATHS = 2, 5
"""An input fails after this number of dead workers, or dead nodes."""
_FAILED_STARTS = 3
"""The run fails after this number of workers in a row that died before they were ready."""


@dataclass
class Input:
    """An input, and the number of workers and nodes that died while they worked on it."""

    source: str
    deaths: int = 0
    node_deaths: int = 0


@dataclass
class Worker:
    """An actor, its node once it is ready, its current input, if any, and the pending request for its progress."""

    actor: Any
    node: str = ""
    input: Input | None = None
    pending: Any = None


class Crew:
    """The workers, and the inputs that wait for one. `ray` is the module, connected to a cluster."""

    def __init__(self, ray: Any, task: ClipTask, jobs: int) -> None:
        self._ray, self._task, self._jobs = ray, task, jobs
        self._idle: list[Worker] = []
        self._beginning: dict[Any, Worker] = {}  # by the pending answer, as the next one
        self._working: dict[Any, Worker] = {}
        self._failed_starts, self._polled = 0, 0.0
        self.waiting: deque[Input] = deque()
        self._refresh()
        self._threads = share(self._cores.values(), self.width)
        options = {"num_cpus": self._threads, "max_restarts": 0, "max_task_retries": 0, "concurrency_groups": {"beside": 1}}
        self._actor = ray.remote(**options)(RayWorker)

    @property
    def width(self) -> int:
        """Number of workers when there are enough inputs."""
        return self._jobs if self._jobs > 1 else max(1, sum(self._cores.values()))

    @property
    def busy(self) -> int:
        return len(self._working) + len(self.waiting)

    @property
    def has_room(self) -> bool:
        return self.busy < self.width

    def assign(self) -> None:
        """Give waiting inputs to idle workers, and start more workers if needed."""
        while self.waiting and self._idle:
            worker, item = self._idle.pop(), self.waiting.popleft()
            worker.input = item
            self._working[worker.actor.run.remote(item.source)] = worker
        while len(self._beginning) < min(len(self.waiting), self.width - len(self._working)):
            worker = Worker(self._actor.remote(pickle.dumps(self._task), os.getcwd(), self._threads))
            self._beginning[worker.actor.begin.remote()] = worker

    def reports(self, seconds: float) -> Iterator[Report]:
        """Wait for an answer of any worker, and yield it when it is a report."""
        ready, _ = self._ray.wait([*self._working, *self._beginning], num_returns=1, timeout=seconds)
        for ref in ready:
            worker = self._working.pop(ref, None) or self._beginning.pop(ref)
            try:
                answer = self._ray.get(ref)
            except self._ray.exceptions.RayError as error:
                yield from self._replace(worker, error)
                continue
            if isinstance(answer, Fsv2vError):
                raise answer
            worker.input = None
            self._idle.append(worker)
            if isinstance(answer, Report):
                yield answer
            else:
                worker.node, self._failed_starts = answer, 0
        if time.monotonic() - self._refreshed >= _REFRESH:
            self._refresh()

    def steps(self) -> Iterator[Step]:
        """The latest progress of the workers, about once per second."""
        if time.monotonic() - self._polled < _POLL:
            return
        self._polled = time.monotonic()
        pending = {worker.pending: worker for worker in self._working.values() if worker.pending is not None}
        for ref in self._ray.wait(list(pending), num_returns=len(pending), timeout=0)[0] if pending else ():
            worker = pending[ref]
            worker.pending = None
            with contextlib.suppress(self._ray.exceptions.RayError):  # its report will show the error
                step = self._ray.get(ref)
                if step is not None and worker.input is not None and step.source == worker.input.source:
                    yield step
        for worker in self._working.values():
            if worker.pending is None:
                worker.pending = worker.actor.step.options(concurrency_group="beside").remote()

    def dismiss(self) -> None:
        """End all workers; busy ones get a moment to clean up."""
        for worker in self._working.values():
            worker.actor.stop.options(concurrency_group="beside").remote()
        if self._working:
            self._ray.wait(list(self._working), num_returns=len(self._working), timeout=_GRACE)
        for worker in [*self._working.values(), *self._beginning.values(), *self._idle]:
            self._kill(worker)

    def _replace(self, worker: Worker, error: Exception) -> Iterator[Report]:
        """Return a dead worker's input to the queue, or report it as failed."""
        node_died = self._node_died(worker, error)
        if node_died:
            self._drop_node(worker.node)
        self._kill(worker)
        if worker.input is None:
            self._count_failed_start(error, node_died)
            return
        lost = worker.input
        lost.deaths += not node_died
        lost.node_deaths += node_died
        if lost.deaths < _DEATHS and lost.node_deaths < _NODE_DEATHS:
            self.waiting.appendleft(lost)
            return
        what = "worker process ended twice" if lost.deaths == _DEATHS else f"node died {_NODE_DEATHS} times"
        reason = Sentence(f"Its {what} on the Ray cluster", code="worker-died")
        yield Report(lost.source, self._task.layer, "failed", reason=reason, exit_code=3, traceback=str(error), source=lost.source)

    def _node_died(self, worker: Worker, error: Exception) -> bool:
        """Whether the worker died with its node. Ray notices a lost network connection long before it declares the node dead."""
        unavailable = getattr(self._ray.exceptions, "ActorUnavailableError", ())
        self._refresh()
        return isinstance(error, unavailable) or "node has died" in str(error) or bool(worker.node) and worker.node not in self._cores

    def _drop_node(self, node: str) -> None:
        """Drop the idle workers of a node that seems to be dead."""
        for worker in [worker for worker in self._idle if worker.node == node]:
            self._idle.remove(worker)
            self._kill(worker)

    def _count_failed_start(self, error: Exception, node_died: bool) -> None:
        self._failed_starts += not node_died
        if self._failed_starts >= _FAILED_STARTS:
            last = str(error).strip().splitlines()[-1].strip()
            hint = "Install the same versions of fsv2v, Python and Ray on all nodes"
            raise MissingRequirement(f"No worker can start on the Ray cluster ({last})", hint=hint) from error

    def _kill(self, worker: Worker) -> None:
        with contextlib.suppress(self._ray.exceptions.RayError):
            self._ray.kill(worker.actor)

    def _refresh(self) -> None:
        """Update the live nodes and their numbers of cores."""
        self._refreshed = time.monotonic()
        self._cores = {node["NodeID"]: int(node["Resources"].get("CPU", 0)) for node in self._ray.nodes() if node["Alive"]}


def share(cores_of_nodes: Iterable[int], workers: int) -> int:
    """The largest number of cores per worker with which all `workers` fit on the nodes; 1 when there are more workers than cores."""
    nodes = list(cores_of_nodes)
    candidates = range(sum(nodes) // workers, 0, -1)
    return next((threads for threads in candidates if sum(cores // threads for cores in nodes) >= workers), 1)
