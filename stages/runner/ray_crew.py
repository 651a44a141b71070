"""The workers of the Ray engine, and what becomes of an input when one of them dies."""

from __future__ import annotations

import contextlib
import os
import pickle
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from stages.errors import Fsv2vError, MissingRequirement
from stages.runner.ray_worker import RayWorker
from stages.runner.report import ClipTask, Report, Step

_GRACE = 5.0
"""Seconds that workers get to clean up before they are killed."""
_ASK, _LOOK_AROUND = 1.0, 5.0
"""Seconds between two looks at the steps, and at the size of the cluster."""
_DEATHS, _NODE_DEATHS = 2, 5
"""After so many dead workers, or dead nodes, an input is given up."""
_STILLBORN = 3
"""After so many workers in a row that died before they had begun, none is expected to begin."""


@dataclass
class Input:
    """An input, and how many workers and nodes died over it."""

    source: str
    deaths: int = 0
    node_deaths: int = 0


@dataclass
class Worker:
    """An actor, the node that it has begun on, the input that it works on, if any, and the step that it was asked for."""

    actor: Any
    node: str = ""
    input: Input | None = None
    asked: Any = None


class Crew:
    """The workers, and the inputs that wait for one. `ray` is the module, connected to a cluster."""

    def __init__(self, ray: Any, task: ClipTask, jobs: int) -> None:
        self._ray, self._task, self._jobs = ray, task, jobs
        self._idle: list[Worker] = []
        self._beginning: dict[Any, Worker] = {}  # by the answer that is awaited, as the next one
        self._working: dict[Any, Worker] = {}
        self._stillborn, self._asked = 0, 0.0
        self.waiting: deque[Input] = deque()
        self._look_around()
        self._threads = share(self._cores.values(), self.width)
        options = {"num_cpus": self._threads, "max_restarts": 0, "max_task_retries": 0, "concurrency_groups": {"beside": 1}}
        self._actor = ray.remote(**options)(RayWorker)

    @property
    def width(self) -> int:
        """How many workers there should be when there is enough to do."""
        return self._jobs if self._jobs > 1 else max(1, sum(self._cores.values()))

    @property
    def busy(self) -> int:
        return len(self._working) + len(self.waiting)

    @property
    def has_room(self) -> bool:
        return self.busy < self.width

    def assign(self) -> None:
        """Give waiting inputs to idle workers, and let more workers begin when these are too few."""
        while self.waiting and self._idle:
            worker, given = self._idle.pop(), self.waiting.popleft()
            worker.input = given
            self._working[worker.actor.run.remote(given.source)] = worker
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
                yield from self._bury(worker, error)
                continue
            if isinstance(answer, Fsv2vError):
                raise answer
            worker.input = None
            self._idle.append(worker)
            if isinstance(answer, Report):
                yield answer
            else:
                worker.node, self._stillborn = answer, 0
        if time.monotonic() - self._looked >= _LOOK_AROUND:
            self._look_around()

    def steps(self) -> Iterator[Step]:
        """How far the workers were when they were last asked, about once per second."""
        if time.monotonic() - self._asked < _ASK:
            return
        self._asked = time.monotonic()
        asked = {worker.asked: worker for worker in self._working.values() if worker.asked is not None}
        for ref in self._ray.wait(list(asked), num_returns=len(asked), timeout=0)[0] if asked else ():
            worker = asked[ref]
            worker.asked = None
            with contextlib.suppress(self._ray.exceptions.RayError):  # its report will say so
                step = self._ray.get(ref)
                if step is not None and worker.input is not None and step.source == worker.input.source:
                    yield step
        for worker in self._working.values():
            if worker.asked is None:
                worker.asked = worker.actor.step.options(concurrency_group="beside").remote()

    def dismiss(self) -> None:
        """End all workers; those at work get a moment to clean up."""
        for worker in self._working.values():
            worker.actor.stop.options(concurrency_group="beside").remote()
        if self._working:
            self._ray.wait(list(self._working), num_returns=len(self._working), timeout=_GRACE)
        for worker in [*self._working.values(), *self._beginning.values(), *self._idle]:
            self._kill(worker)

    def _bury(self, worker: Worker, error: Exception) -> Iterator[Report]:
        """Let a dead worker's input wait for another one, or give it up."""
        node_died = self._node_died(worker, error)
        if node_died:
            self._leave(worker.node)
        self._kill(worker)
        if worker.input is None:
            self._mourn(error, node_died)
            return
        lost = worker.input
        lost.deaths += not node_died
        lost.node_deaths += node_died
        if lost.deaths < _DEATHS and lost.node_deaths < _NODE_DEATHS:
            self.waiting.appendleft(lost)
            return
        what = "worker process ended twice" if lost.deaths == _DEATHS else f"node died {_NODE_DEATHS} times"
        reason = f"Its {what} on the Ray cluster. Perhaps memory ran out; try fewer --jobs"
        yield Report(lost.source, self._task.layer, "failed", reason=reason, exit_code=3, traceback=str(error), source=lost.source)

    def _node_died(self, worker: Worker, error: Exception) -> bool:
        """Ray notices the end of a node's network long before it declares the node dead; that of a process it knows at once."""
        unavailable = getattr(self._ray.exceptions, "ActorUnavailableError", ())
        self._look_around()
        return isinstance(error, unavailable) or "node has died" in str(error) or bool(worker.node) and worker.node not in self._cores

    def _leave(self, node: str) -> None:
        """Give no input to the idle workers of a node that seems to be dead."""
        for worker in [worker for worker in self._idle if worker.node == node]:
            self._idle.remove(worker)
            self._kill(worker)

    def _mourn(self, error: Exception, node_died: bool) -> None:
        self._stillborn += not node_died
        if self._stillborn >= _STILLBORN:
            last = str(error).strip().splitlines()[-1].strip()
            hint = "Install the same versions of fsv2v, Python and Ray on all nodes"
            raise MissingRequirement(f"No worker can begin on the Ray cluster ({last})", hint=hint) from error

    def _kill(self, worker: Worker) -> None:
        with contextlib.suppress(self._ray.exceptions.RayError):
            self._ray.kill(worker.actor)

    def _look_around(self) -> None:
        """See which nodes live, and with how many cores."""
        self._looked = time.monotonic()
        self._cores = {node["NodeID"]: int(node["Resources"].get("CPU", 0)) for node in self._ray.nodes() if node["Alive"]}


def share(cores_of_nodes: Iterable[int], workers: int) -> int:
    """The most cores per worker with which all `workers` find room on the nodes; 1 when there are more workers than cores."""
    nodes = list(cores_of_nodes)
    most = range(sum(nodes) // workers, 0, -1)
    return next((threads for threads in most if sum(cores // threads for cores in nodes) >= workers), 1)
