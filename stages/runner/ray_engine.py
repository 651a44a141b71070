"""The Ray engine (extra `ray`): the same work, spread over this machine or over a cluster whose nodes share the folders.

Without an address or RAY_ADDRESS, Ray is started on this machine and ended with the run. Each worker is an actor that lives as long as
the run. An input is given only to a worker that is ready, so none waits for a missing node; when a worker or its node dies, its input
goes to another one.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import wait
from pathlib import Path
from types import FrameType
from typing import Any

from stages.errors import MissingRequirement
from stages.runner.feeder import Feeder
from stages.runner.ray_crew import Crew, Input
from stages.runner.report import ClipTask, Report, Step
from stages.runner.work import cores

_CONNECT_SECONDS = 10.0
"""Seconds in which a cluster must answer."""
_WAIT, _IDLE_WAIT = 1.0, 0.1
"""Longest wait for an answer in seconds, in general and while idle workers wait for inputs."""
_LOCAL = {"include_dashboard": False, "object_store_memory": 80 << 20}
"""Options of a Ray on this machine; the objects that it transfers are small."""


def run_on_ray(
    task: ClipTask, sources: Iterable[str], jobs: int, address: str | None = None, on_step: Callable[[Step], None] | None = None
) -> Iterator[Report]:
    """Reports in the order in which the inputs finish, from `jobs` workers (1: as many as the cluster has cores).

    address: as ray.init takes it: "auto", "host:port", "ray://host:port" or None. At most as many inputs as workers are in flight, and as
    many wait. Raises CONCERNS_ALL at the first input with such an error, and MissingRequirement without Ray or its cluster.
    """
    ray = _ray()
    with _connected(ray, address):
        crew = Crew(ray, task, jobs)
        feeder = Feeder(sources, crew.width)
        try:
            yield from _stream(feeder, crew, on_step)
        finally:
            feeder.stop()
            crew.dismiss()


def _stream(feeder: Feeder, crew: Crew, on_step: Callable[[Step], None] | None) -> Iterator[Report]:
    while True:
        while crew.has_room and (source := feeder.next()) is not None:
            crew.waiting.append(Input(source))
        crew.assign()
        if not crew.busy and feeder.exhausted:
            return
        if not crew.busy:
            wait([feeder.bell])
            continue
        yield from crew.reports(_IDLE_WAIT if crew.has_room and not feeder.exhausted else _WAIT)
        if on_step is not None:
            for step in crew.steps():
                on_step(step)


@contextlib.contextmanager
def _connected(ray: Any, address: str | None) -> Iterator[None]:
    """Ray, quiet, at the address or on this machine; an existing connection is used and left open."""
    if ray.is_initialized():
        yield
        return
    place = address or os.environ.get("RAY_ADDRESS") or "local"
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # workers see the GPUs, as local processes do
    mine = {"num_cpus": cores(), **_LOCAL} if place == "local" else {}
    with _sigterm_kept() as take_sigterm:
        try:
            _init(ray, address=place, log_to_driver=False, logging_level=logging.ERROR, **mine)
            take_sigterm()
            yield
        finally:
            ray.shutdown()


def _init(ray: Any, address: str, **options: Any) -> None:
    try:
        Path.home()
    except RuntimeError:  # a user of a container without an entry in the list of users; Ray does not start without
        os.environ["HOME"] = tempfile.gettempdir()
    try:
        _require_listener(address)
        ray.init(address, **options)
    except ImportError as error:
        raise MissingRequirement(f"Ray cannot use the address {address}: {error}", hint="Run: pip install 'ray[client]'") from error
    except (OSError, RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0].partition(". ")[0]
        hint = "A cluster is started by `ray start`, with the same versions of Ray and Python on all nodes"
        raise MissingRequirement(f"No Ray cluster answers at {address} ({reason})", hint=hint) from error


def _require_listener(address: str) -> None:
    """Raises OSError when nothing listens at the address; Ray itself would try for ever."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS).close()


@contextlib.contextmanager
def _sigterm_kept() -> Iterator[Callable[[], object]]:
    """In the block SIGTERM raises KeyboardInterrupt; afterwards the previous handler runs. Ray installs its own handler and exit code.

    Yields a function that installs the handler again, to be called after ray.init.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    before, came = signal.getsignal(signal.SIGTERM), list[int]()

    def interrupt(number: int, frame: FrameType | None) -> None:
        came.append(number)
        raise KeyboardInterrupt

    try:
        signal.signal(signal.SIGTERM, interrupt)
        yield functools.partial(signal.signal, signal.SIGTERM, interrupt)
    except SystemExit:  # by Ray's handler
        came.append(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
        if came:
            signal.raise_signal(signal.SIGTERM)


def _ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise MissingRequirement("The engine ray needs the package ray", hint="Run: pip install 'fsv2v[ray]'") from error
    return ray
