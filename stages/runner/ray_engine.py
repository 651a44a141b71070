"""The Ray engine (extra `ray`): one stage over many inputs, on this machine or on a cluster whose nodes share the folders.

Without an address or RAY_ADDRESS, Ray is started on this machine and ends with the run. Each worker is an actor that lives as long as
the run. Inputs are given only to workers that are ready, so that none waits for a missing node. When a worker or its node dies, another
worker gets its input.
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
from stages.runner.ray_pool import Input, RayPool
from stages.runner.report import ClipTask, InputProgress, Report
from stages.runner.work import available_cores

_CONNECT_SECONDS = 10.0
"""Seconds in which a cluster must answer."""
_WAIT_SECONDS, _IDLE_WAIT_SECONDS = 1.0, 0.1
"""Longest waits for an answer: in general, and while workers wait for inputs."""
_LOCAL_OPTIONS = {"include_dashboard": False, "object_store_memory": 80 << 20}
"""Options for Ray on this machine. The objects that it transfers are small."""


def run_on_ray(
    task: ClipTask, sources: Iterable[str], jobs: int, address: str | None = None, on_step: Callable[[InputProgress], None] | None = None
) -> Iterator[Report]:
    """Reports in the order in which the inputs finish, from `jobs` workers (1: as many as the cluster has cores).

    address: as for ray.init: "auto", "host:port", "ray://host:port" or None. At most as many inputs as workers are in progress, and as
    many are read ahead. Raises the first of FATAL_ERRORS that an input causes, and MissingRequirement without Ray or its cluster.
    """
    ray = _import_ray()
    with _connect(ray, address):
        pool = RayPool(ray, task, jobs)
        feeder = Feeder(sources, pool.num_workers)
        try:
            yield from _run(feeder, pool, on_step)
        finally:
            feeder.stop()
            pool.end_workers()


def _run(feeder: Feeder, pool: RayPool, on_step: Callable[[InputProgress], None] | None) -> Iterator[Report]:
    while True:
        while pool.has_room and (source := feeder.next()) is not None:
            pool.waiting.append(Input(source))
        pool.assign()
        if not pool.num_unfinished and feeder.exhausted:
            return
        if not pool.num_unfinished:
            wait([feeder.ready])
            continue
        yield from pool.reports(_IDLE_WAIT_SECONDS if pool.has_room and not feeder.exhausted else _WAIT_SECONDS)
        if on_step is not None:
            for progress in pool.progress():
                on_step(progress)


@contextlib.contextmanager
def _connect(ray: Any, address: str | None) -> Iterator[None]:
    """Connect to Ray at the address, or start it on this machine, without its log. An existing connection is used and kept."""
    if ray.is_initialized():
        yield
        return
    cluster = address or os.environ.get("RAY_ADDRESS") or "local"
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # so that workers see the GPUs, as local processes do
    local_options = {"num_cpus": available_cores(), **_LOCAL_OPTIONS} if cluster == "local" else {}
    with _keep_sigterm_handler() as install_handler:
        try:
            _init_ray(ray, address=cluster, log_to_driver=False, logging_level=logging.ERROR, **local_options)
            install_handler()
            yield
        finally:
            ray.shutdown()


def _init_ray(ray: Any, address: str, **options: Any) -> None:
    try:
        Path.home()
    except RuntimeError:  # a container whose user has no entry in /etc/passwd: Ray needs a home folder
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
    """Raises OSError when nothing listens at the address. Ray itself would retry forever."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS).close()


@contextlib.contextmanager
def _keep_sigterm_handler() -> Iterator[Callable[[], object]]:
    """In the block SIGTERM raises KeyboardInterrupt; after it the previous handler is called with the signal.

    Ray installs a handler of its own. Yields a function that replaces it again, to be called after ray.init.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    previous_handler, received = signal.getsignal(signal.SIGTERM), list[int]()

    def interrupt(number: int, frame: FrameType | None) -> None:
        received.append(number)
        raise KeyboardInterrupt

    try:
        signal.signal(signal.SIGTERM, interrupt)
        yield functools.partial(signal.signal, signal.SIGTERM, interrupt)
    except SystemExit:  # raised by Ray's handler
        received.append(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, previous_handler)
        if received:
            signal.raise_signal(signal.SIGTERM)


def _import_ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise MissingRequirement("The engine ray needs the package ray", hint="Run: pip install 'fsv2v[ray]'") from error
    return ray
