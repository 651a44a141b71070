"""One evaluation in several processes, or on Ray: each process measures shards, and their partial results are added."""

from __future__ import annotations

import contextlib
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from stages.errors import Fsv2vError, InputError, UsageError, add_prefix
from stages.evaluate.cache import Cache
from stages.evaluate.compare import EvaluateOptions, empty_part, evaluate, open_pairs, pair_results
from stages.evaluate.measure import OnEvent, Score, ignore
from stages.evaluate.partial_result import PartialResult, load, require_same
from stages.evaluate.set_statistics import set_names
from stages.io.files import TEMPORARY_PREFIX, hidden_directory
from stages.runner import ClipTask, InputProgress, Outcome, Report, run_over_clips

_SHARDS_PER_PROCESS = 4
_SHARDS_ON_RAY = 1024
"""Number of shards for a cluster with an unknown number of workers."""
_INTERVAL = 0.2
"""Seconds between two reports of progress."""


@dataclass(frozen=True)
class _Work:
    """The task of all shards. `folder` receives their partial results; see `evaluate` for the other fields."""

    results: tuple[str, ...]
    references: tuple[str, ...]
    options: EvaluateOptions
    folder: Path
    sets_grow: bool

    def part_path(self, shard: str) -> Path:
        return self.folder / f"{shard.replace('/', '-of-')}.npz"


def evaluate_parallel(
    results: Sequence[str],
    references: Sequence[str],
    options: EvaluateOptions,
    on_event: OnEvent = ignore,
    shard: tuple[int, int] = (0, 1),
    out: Path | None = None,
    jobs: int = 1,
    engine: Literal["local", "ray"] = "local",
    address: str | None = None,
) -> Iterator[Score]:
    """The scores of `evaluate`, computed by `jobs` processes (on Ray, 1 stands for every core of the cluster).

    The scores of single results are yielded as they finish. `on_event` receives {done, total}, in results, and {warning}. Raises what
    `evaluate` raises; the first failure stops all processes.
    """
    reported: set[str] = set()

    def warn(text: str) -> None:
        if text not in reported:
            reported.add(text)
            on_event({"warning": text})

    index, count = shard
    all_pairs = pair_results(results, references)
    shard_pairs = all_pairs[index::count]
    if out:
        require_same(out, empty_part(all_pairs, options, shard))
    open_pairs(shard_pairs, lambda event: warn(event["warning"]))  # raises at once if a pair cannot be compared
    pieces = max(1, min(len(shard_pairs), _SHARDS_ON_RAY if engine == "ray" and jobs == 1 else _SHARDS_PER_PROCESS * jobs))
    shards = (f"{index + count * piece}/{count * pieces}" for piece in range(pieces))
    with _temporary_folder(options.cache, engine) as folder:
        work = _Work(tuple(results), tuple(references), options, folder.resolve(), out is not None)
        task = ClipTask("stages.evaluate.parallel:measure_shard", work, opens_clips=False)
        whole, done = None, 0
        with contextlib.closing(run_over_clips(task, shards, jobs, engine=engine, keep_going=False, address=address)) as reports:
            for report in reports:
                part = _take_part(report, work)
                for text in report.notes["warnings"]:
                    warn(text)
                yield from part.scores
                whole = part if whole is None else whole + part
                done += report.notes["results"]
                on_event({"done": done, "total": len(shard_pairs)})
    assert whole is not None, "there is at least one shard"
    sets = {name: whole.clips[name] for name in dict.fromkeys(set_names(all_pairs)) if name in whole.clips}
    whole = replace(whole, shards=(shard,), clips=sets)
    if out:
        whole.save(out)
    if count == 1:
        yield from whole.aggregate_scores()


def measure_shard(name: str, work: _Work, on_step: Callable[[InputProgress], None] | None) -> Outcome:
    """Measure the shard "i/n" and write its partial result. The outcome's notes hold the warnings and the number of results.

    `on_step` may raise an interrupt.
    """
    if not work.folder.is_dir():
        raise UsageError(
            f"{socket.gethostname()} does not see {work.folder}, where the partial results are merged", code="parts-not-shared"
        )
    index, count = map(int, name.split("/"))
    warnings: list[str] = []
    reported = time.monotonic()

    def on_event(event: Mapping[str, Any]) -> None:
        nonlocal reported
        if "warning" in event:
            warnings.append(event["warning"])
        elif on_step is not None and time.monotonic() - reported > _INTERVAL:
            reported = time.monotonic()
            on_step(InputProgress(name, event["done"], event["total"]))

    for _ in evaluate(work.results, work.references, work.options, on_event, (index, count), work.part_path(name), work.sets_grow):
        pass
    measured = len(pair_results(work.results, work.references)[index::count])
    return Outcome("", "done", 0, {"warnings": warnings, "results": measured})


@contextlib.contextmanager
def _temporary_folder(cache: str, engine: str) -> Iterator[Path]:
    """A folder for the partial results of this run. On Ray it lies in the folder of cached statistics, which all nodes have to share."""
    with contextlib.ExitStack() as stack:
        if engine == "local":
            yield Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=TEMPORARY_PREFIX)))
            return
        try:
            folder = stack.enter_context(hidden_directory(Cache(cache, lambda text: None).folder / "parts"))
        except InputError as problem:
            raise InputError(problem.message, code="parts-not-shared") from problem
        yield folder


def _take_part(report: Report, work: _Work) -> PartialResult:
    """Load the partial result of a finished shard and remove its file. Raises the error of a shard that failed."""
    if report.status == "failed":
        error = Fsv2vError.from_text(add_prefix(f"shard {report.source}: ", report.reason))
        error.exit_code = report.exit_code
        raise error from RuntimeError(report.traceback)
    part = load(work.part_path(report.source))
    work.part_path(report.source).unlink()
    return part
