"""One evaluation by several processes, or by Ray: each measures a shard, and the parts are added."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from stages.errors import Fsv2vError
from stages.evaluate.cache import Cache
from stages.evaluate.compare import EvaluateOptions, evaluate, pairs
from stages.evaluate.measure import OnEvent, Score, ignore
from stages.evaluate.part import added
from stages.files import hidden_directory
from stages.runner import ClipTask, Outcome, Step, run_over_clips

ON_RAY = 64
"""Shards on a cluster whose workers nobody has counted."""
_INTERVAL = 0.2
"""Seconds between two steps that are told."""


@dataclass(frozen=True)
class _Work:
    """What all shards have in common. `folder` is where each leaves its part."""

    results: tuple[str, ...]
    references: tuple[str, ...]
    options: EvaluateOptions
    folder: Path

    def part(self, shard: str) -> Path:
        return self.folder / f"{shard.replace('/', '-of-')}.npz"


def evaluate_spread(
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
    """The scores of `evaluate`, in its order, from `jobs` processes (on Ray 1: as many as the cluster has cores).

    `on_event` is told {done, total} in results. Raises what `evaluate` raises; the first failure ends the others' work.
    """
    index, count = shard
    own = len(pairs(results, references)[index::count])
    pieces = min(own, ON_RAY if engine == "ray" and jobs == 1 else 2 * jobs)
    shards = [f"{index + count * piece}/{count * pieces}" for piece in range(pieces)]
    with hidden_directory(Cache(options.cache, lambda text: None).folder / "parts") as folder:
        work = _Work(tuple(results), tuple(references), options, folder.resolve())
        task = ClipTask("stages.evaluate.spread:measure_shard", work, of_clips=False)
        done, told = 0, set[str]()
        reports = run_over_clips(task, shards, jobs, engine=engine, keep_going=False, on_step=lambda step: None, address=address)
        with closing(reports):
            for report in reports:
                if report.status == "failed":
                    raise _error(report.reason, report.exit_code)
                for message in report.notes["messages"]:
                    if message not in told:
                        told.add(message)
                        on_event({"message": message})
                done += report.notes["results"]
                on_event({"done": done, "total": own})
        part = replace(added([work.part(shard) for shard in shards]), shards=(shard,))
    order = {result: position for position, result in enumerate(results)}
    part.scores.sort(key=lambda score: order[score.result])
    yield from part.scores
    if out:
        part.save(out)
    if count == 1:
        yield from part.whole()


def measure_shard(name: str, work: _Work, on_step: Callable[[Step], None] | None) -> Outcome:
    """Leaves the part of the shard "i/n". The notes hold what there was to say."""
    index, count = map(int, name.split("/"))
    messages: list[str] = []
    told = time.monotonic()

    def on_event(event: Mapping[str, Any]) -> None:
        nonlocal told
        if "message" in event:
            messages.append(str(event["message"]))
        elif on_step is not None and time.monotonic() - told > _INTERVAL:
            told = time.monotonic()
            on_step(Step(name, event["done"], event["total"]))

    for _ in evaluate(work.results, work.references, work.options, on_event, (index, count), work.part(name)):
        pass
    measured = len(work.results[index::count])
    return Outcome("", "done", 0, {"messages": messages, "results": measured})


def _error(reason: str, exit_code: int) -> Fsv2vError:
    error = Fsv2vError(reason)
    error.exit_code = exit_code
    return error
