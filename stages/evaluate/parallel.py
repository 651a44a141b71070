"""One evaluation by several processes, or by Ray: each measures shards, and the partial results are added."""

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
from stages.evaluate.compare import EvaluateOptions, empty_part, evaluate, open_pairs, pairs
from stages.evaluate.measure import OnEvent, Score, ignore
from stages.evaluate.partial_result import PartialResult, load, require_same
from stages.evaluate.set_statistics import set_names
from stages.io.files import TEMPORARY_PREFIX, hidden_directory
from stages.runner import ClipTask, Outcome, Report, Step, run_over_clips

_FOR_EACH, _ON_RAY = 4, 1024
"""Number of shards for each process, and in all on a cluster with an unknown number of workers."""
_INTERVAL = 0.2
"""Seconds between two reports of progress."""


@dataclass(frozen=True)
class _Work:
    """What all shards have in common. `folder` receives their partial results; `sets_grow` as for `evaluate`."""

    results: tuple[str, ...]
    references: tuple[str, ...]
    options: EvaluateOptions
    folder: Path
    sets_grow: bool

    def part(self, shard: str) -> Path:
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
    """The scores of `evaluate`, computed by `jobs` processes (on Ray, 1 stands for every core of the cluster); those of frames as they
    finish.

    `on_event` receives {done, total} in results, and {warning}. Raises what `evaluate` raises; the first failure ends the others' work.
    """
    given: set[str] = set()

    def warn(text: str) -> None:
        if text not in given:
            given.add(text)
            on_event({"warning": text})

    index, count = shard
    named = pairs(results, references)
    own = named[index::count]
    if out:
        require_same(out, empty_part(named, options, shard))
    open_pairs(own, lambda event: warn(event["warning"]))  # find pairs that cannot be compared before hours of work
    pieces = max(1, min(len(own), _ON_RAY if engine == "ray" and jobs == 1 else _FOR_EACH * jobs))
    shards = (f"{index + count * piece}/{count * pieces}" for piece in range(pieces))
    with _folder_of_parts(options.cache, engine) as folder:
        work = _Work(tuple(results), tuple(references), options, folder.resolve(), out is not None)
        task = ClipTask("stages.evaluate.parallel:measure_shard", work, of_clips=False)
        whole, done = None, 0
        with contextlib.closing(run_over_clips(task, shards, jobs, engine=engine, keep_going=False, address=address)) as reports:
            for report in reports:
                part = _taken(report, work)
                for text in report.notes["warnings"]:
                    warn(text)
                yield from part.scores
                whole = part if whole is None else whole + part
                done += report.notes["results"]
                on_event({"done": done, "total": len(own)})
    assert whole is not None, "there is at least one shard"
    sets = {name: whole.clips[name] for name in dict.fromkeys(set_names(named)) if name in whole.clips}
    whole = replace(whole, shards=(shard,), clips=sets)
    if out:
        whole.save(out)
    if count == 1:
        yield from whole.aggregate_scores()


def measure_shard(name: str, work: _Work, on_step: Callable[[Step], None] | None) -> Outcome:
    """Measure the shard "i/n" and write its partial result. The notes hold the warnings. `on_step` may raise an interrupt."""
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
            on_step(Step(name, event["done"], event["total"]))

    for _ in evaluate(work.results, work.references, work.options, on_event, (index, count), work.part(name), work.sets_grow):
        pass
    measured = len(pairs(work.results, work.references)[index::count])
    return Outcome("", "done", 0, {"warnings": warnings, "results": measured})


@contextlib.contextmanager
def _folder_of_parts(cache: str, engine: str) -> Iterator[Path]:
    """A folder for this run; on Ray beside the cached statistics, which all nodes have to share."""
    with contextlib.ExitStack() as stack:
        if engine == "local":
            yield Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=TEMPORARY_PREFIX)))
            return
        try:
            folder = stack.enter_context(hidden_directory(Cache(cache, lambda text: None).folder / "parts"))
        except InputError as problem:
            raise InputError(problem.message, code="parts-not-shared") from problem
        yield folder


def _taken(report: Report, work: _Work) -> PartialResult:
    """Load the partial result that a report is about and remove its file. Raises the error of a shard that failed."""
    if report.status == "failed":
        error = Fsv2vError.from_text(add_prefix(f"shard {report.source}: ", report.reason))
        error.exit_code = report.exit_code
        raise error from RuntimeError(report.traceback)
    part = load(work.part(report.source))
    work.part(report.source).unlink()
    return part
