"""The Ray engine (extra `ray`): the same work, spread over this machine or over a cluster whose nodes share the folders.

Without an address or RAY_ADDRESS, Ray is started on this machine and ended with the run. Each worker is an actor that lives as long as
the run. An input is given only to a worker that has begun, so none waits for a node that is not there; when a worker or its node dies,
the input goes to another one.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import signal
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import Any

from stages.errors import Fsv2vError, MissingRequirement
from stages.runner.feeder import Feeder
from stages.runner.ray_worker import RayWorker
from stages.runner.report import ClipTask, Report, Step
from stages.runner.work import cores

_GRACE = 5.0
"""Seconds that workers get to clean up before they are killed."""
_KNOCK = 10.0
"""Seconds in which a cluster must answer."""
_TICK, _HUNGRY_TICK, _LOOK_AROUND = 1.0, 0.1, 5.0
"""Seconds between two looks at the steps, at inputs that come slowly, and at the size of the cluster."""
_DEATHS, _NODE_DEATHS = 2, 5
"""After so many dead workers, or dead nodes, an input is given up."""
_STILLBORN = 3
"""After so many workers in a row that died before they had begun, none is expected to begin."""
_LOCAL = {"include_dashboard": False, "object_store_memory": 80 << 20}
"""Of a Ray on this machine: what travels through it is small."""


def run_on_ray(
    task: ClipTask, sources: Iterable[str], jobs: int, address: str | None = None, on_step: Callable[[Step], None] | None = None
) -> Iterator[Report]:
    """Reports in the order in which the inputs finish, from `jobs` workers (1: as many as the cluster has cores).

    address: as ray.init takes it: "auto", "host:port", "ray://host:port" or None. At most as many inputs as workers are in flight, and as
    many wait. Raises CONCERNS_ALL at the first input that meets one, and MissingRequirement without Ray or its cluster.
    """
    ray = _ray()
    with _connected(ray, address):
        crew = _Crew(ray, task, jobs)
        feeder = Feeder(sources, crew.width)
        try:
            yield from _stream(feeder, crew, on_step)
        finally:
            feeder.stop()
            crew.dismiss()


def _stream(feeder: Feeder, crew: _Crew, on_step: Callable[[Step], None] | None) -> Iterator[Report]:
    while True:
        while crew.has_room and (source := feeder.next()) is not None:
            crew.waiting.append(_Input(source))
        crew.assign()
        if not crew.busy and feeder.exhausted:
            return
        if not crew.busy:
            wait([feeder.bell])
            continue
        yield from crew.reports(_HUNGRY_TICK if crew.has_room and not feeder.exhausted else _TICK)
        if on_step is not None:
            for step in crew.steps():
                on_step(step)


@dataclass
class _Input:
    """An input, and how many workers and nodes died over it."""

    source: str
    deaths: int = 0
    node_deaths: int = 0


@dataclass
class _Worker:
    """An actor, the node that it has begun on, the input that it works on, if any, and the step that it was asked for."""

    actor: Any
    node: str = ""
    input: _Input | None = None
    asked: Any = None


class _Crew:
    """The workers, and the inputs that wait for one. `ray` is the module, connected to a cluster."""

    def __init__(self, ray: Any, task: ClipTask, jobs: int) -> None:
        self._ray, self._task, self._jobs = ray, task, jobs
        self._idle: list[_Worker] = []
        self._beginning: dict[Any, _Worker] = {}  # by the answer that is awaited, as the next one
        self._working: dict[Any, _Worker] = {}
        self._stillborn, self._asked = 0, 0.0
        self.waiting: deque[_Input] = deque()
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
            worker = _Worker(self._actor.remote(pickle.dumps(self._task), os.getcwd(), self._threads))
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
            if isinstance(answer, Report):
                yield answer
            else:
                worker.node, self._stillborn = answer, 0
            worker.input = None
            self._idle.append(worker)
        if time.monotonic() - self._looked >= _LOOK_AROUND:
            self._look_around()

    def steps(self) -> Iterator[Step]:
        """How far the workers were when they were last asked, about once per second."""
        if time.monotonic() - self._asked < _TICK:
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

    def _bury(self, worker: _Worker, error: Exception) -> Iterator[Report]:
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

    def _node_died(self, worker: _Worker, error: Exception) -> bool:
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

    def _kill(self, worker: _Worker) -> None:
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


@contextlib.contextmanager
def _connected(ray: Any, address: str | None) -> Iterator[None]:
    """Ray, quiet, at the address or on this machine; a connection that exists already is used and left."""
    if ray.is_initialized():
        yield
        return
    place = address or os.environ.get("RAY_ADDRESS") or "local"
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # workers see the GPUs, as local processes do
    mine = {"num_cpus": cores(), **_LOCAL} if place == "local" else {}
    try:
        _init(ray, address=place, log_to_driver=False, logging_level=logging.ERROR, **mine)
        yield
    finally:
        ray.shutdown()


def _init(ray: Any, address: str, **options: Any) -> None:
    try:
        _knock(address)
        with _sigterm_kept():
            ray.init(address, **options)
    except ImportError as error:
        raise MissingRequirement(f"Ray cannot use the address {address}: {error}", hint="Run: pip install 'ray[client]'") from error
    except (OSError, RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        hint = "A cluster is started by `ray start`, with the same versions of Ray and Python on all nodes"
        raise MissingRequirement(f"No Ray cluster answers at {address} ({reason})", hint=hint) from error


def _knock(address: str) -> None:
    """Ray itself would try for ever. Raises OSError when nobody listens."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=_KNOCK).close()


@contextlib.contextmanager
def _sigterm_kept() -> Iterator[None]:
    """Ray sets a handler of its own, with another exit code."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)


def _ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise MissingRequirement("The engine ray needs the package ray", hint="Run: pip install 'fsv2v[ray]'") from error
    return ray
