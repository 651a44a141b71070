"""The Ray engine: the same work, spread over a Ray cluster (extra `ray`).

Ray is started on this machine unless RAY_ADDRESS names a cluster. All nodes must see the inputs and outputs under the same paths.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable, Iterator
from typing import Any

from stages.errors import Fsv2vError, MissingRequirement
from stages.runner.report import ClipTask, Report
from stages.runner.work import CONCERNS_ALL, limit_threads, run_one


def run_on_ray(task: ClipTask, sources: Iterable[str], jobs: int) -> Iterator[Report]:
    """Reports in the order in which the inputs finish; at most `jobs` inputs (1: as many as the cluster has cores) are in flight.

    Ray runs an input again once when its worker dies. Raises MissingRequirement when Ray is not installed.
    """
    ray = _ray()
    ray.init(ignore_reinit_error=True, log_to_driver=False, logging_level=logging.ERROR)
    try:
        width = jobs if jobs > 1 else int(ray.cluster_resources().get("CPU", 1))
        remote = ray.remote(num_cpus=1, max_retries=1)(_run)
        yield from _stream(ray, remote, task, iter(sources), width)
    finally:
        ray.shutdown()


def _stream(ray: Any, remote: Any, task: ClipTask, sources: Iterator[str], width: int) -> Iterator[Report]:
    flying = {remote.remote(task, source, width): source for source in itertools.islice(sources, width)}
    while flying:
        (ready,), _ = ray.wait(list(flying), num_returns=1)
        yield _result(ray, ready, task, flying.pop(ready))
        flying.update({remote.remote(task, source, width): source for source in itertools.islice(sources, 1)})


def _result(ray: Any, ready: Any, task: ClipTask, source: str) -> Report:
    try:
        answer = ray.get(ready)
    except ray.exceptions.RayError as error:
        reason = f"Its Ray worker ended: {str(error).splitlines()[0]}"
        return Report(source, task.layer, "failed", reason=reason, exit_code=3, source=source)
    if isinstance(answer, Fsv2vError):
        raise answer
    report: Report = answer
    return report


def _run(task: ClipTask, source: str, jobs: int) -> Report | Fsv2vError:
    limit_threads(jobs)
    try:
        return run_one(task, source)
    except CONCERNS_ALL as error:
        return error


def _ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise MissingRequirement("The engine ray needs the package ray", hint="Run: pip install 'fsv2v[ray]'") from error
    return ray
