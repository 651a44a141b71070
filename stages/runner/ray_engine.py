"""The Ray engine (extra `ray`): the same work, spread over this machine or over a cluster whose nodes share the folders.

Without an address or RAY_ADDRESS, Ray is started on this machine and ended with the run. Each worker is an actor that lives as long as
the run. An input is given only to a worker that has begun, so none waits for a node that is not there; when a worker or its node dies,
the input goes to another one.
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

_KNOCK = 10.0
"""Seconds in which a cluster must answer."""
_TICK, _HUNGRY_TICK = 1.0, 0.1
"""Seconds that an answer is waited for, at most, and when there may be inputs for idle workers."""
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
        yield from crew.reports(_HUNGRY_TICK if crew.has_room and not feeder.exhausted else _TICK)
        if on_step is not None:
            for step in crew.steps():
                on_step(step)


@contextlib.contextmanager
def _connected(ray: Any, address: str | None) -> Iterator[None]:
    """Ray, quiet, at the address or on this machine; a connection that exists already is used and left."""
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
        _knock(address)
        ray.init(address, **options)
    except ImportError as error:
        raise MissingRequirement(f"Ray cannot use the address {address}: {error}", hint="Run: pip install 'ray[client]'") from error
    except (OSError, RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0].partition(". ")[0]
        hint = "A cluster is started by `ray start`, with the same versions of Ray and Python on all nodes"
        raise MissingRequirement(f"No Ray cluster answers at {address} ({reason})", hint=hint) from error


def _knock(address: str) -> None:
    """Ray itself would try for ever. Raises OSError when nobody listens."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=_KNOCK).close()


@contextlib.contextmanager
def _sigterm_kept() -> Iterator[Callable[[], object]]:
    """Meanwhile SIGTERM interrupts as Ctrl-C does; then it does what it did before. Ray has a handler and an exit code of its own.

    Yields a function that takes the signal again, to be called after ray.init.
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
