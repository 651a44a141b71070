"""One stage over many inputs: in this process, in a pool of processes, in shards, or on Ray."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Generator, Iterable
from typing import Literal

from stages.errors import UsageError
from stages.runner.failures import FailureList
from stages.runner.report import ClipTask, InputProgress, Outcome, Report
from stages.runner.work import run_one

__all__ = ["ClipTask", "FailureList", "Outcome", "Report", "InputProgress", "exit_code", "run_over_clips"]


def run_over_clips(
    task: ClipTask,
    inputs: Iterable[str],
    jobs: int = 1,
    shard: tuple[int, int] = (0, 1),
    engine: Literal["local", "ray"] = "local",
    keep_going: bool = True,
    on_step: Callable[[InputProgress], None] | None = None,
    address: str | None = None,
) -> Generator[Report, None, None]:
    """Run `task` on every input and yield one Report each, as soon as it is finished.

    inputs may be endless: only a few are read ahead. shard (i, n): every n-th input, starting with the i-th, counted from 0; so n machines
    can divide one list. A failed input does not stop the others unless `keep_going` is false. Raises UsageError and MissingRequirement,
    which concern every input. When the iterator is closed or interrupted, workers end. `on_step` is called with the progress of each input
    a few times per second (with Ray about once per second). address: that of a Ray cluster; by default RAY_ADDRESS, else Ray is started on
    this machine.
    """
    index, count = shard
    if not 0 <= index < count:
        raise UsageError(f"There is no shard {index} of {count}", hint="Shards count from 0")
    if jobs < 1:
        raise UsageError(f"The number of jobs must be at least 1, not {jobs}")
    if address is not None and engine != "ray":
        raise UsageError(f"The address {address} is that of a Ray cluster", code="ray-not-chosen")
    reports = _run_with_engine(task, itertools.islice(inputs, index, None, count), jobs, engine, on_step, address)
    for report in reports:
        yield report
        if report.status == "failed" and not keep_going:
            reports.close()
            return


def exit_code(failures: Collection[int]) -> int:
    """The exit code of a run. failures: the exit codes of its failed inputs. 0 without failures, 5 if all are invalid clips, else 3."""
    if not failures:
        return 0
    return 5 if set(failures) == {5} else 3


def _run_with_engine(
    task: ClipTask, sources: Iterable[str], jobs: int, engine: str, on_step: Callable[[InputProgress], None] | None, address: str | None
) -> Generator[Report, None, None]:
    if engine == "ray":
        from stages.runner.ray_engine import run_on_ray

        yield from run_on_ray(task, sources, jobs, address, on_step)
    elif jobs > 1:
        from stages.runner.pool import run_in_processes

        yield from run_in_processes(task, sources, jobs, on_step)
    else:
        for source in sources:
            yield run_one(task, source, on_step)
