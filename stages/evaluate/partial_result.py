"""The partial result of an evaluation: the scores of some results and the statistics of their features. Partial results can be added."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from stages.errors import READ_ERRORS, InputError, ParametersDiffer, Sentence, UsageError
from stages.evaluate import intervals
from stages.evaluate.distribution import Distribution
from stages.evaluate.measure import Score
from stages.evaluate.metric import Metric
from stages.evaluate.registry import find_metric
from stages.evaluate.set_statistics import SetStatistics, set_names
from stages.evaluate.statistics import Statistics
from stages.io.files import write_atomically
from stages.io.reading import load_npz, parse_object

SCHEMA = "fsv2v.evaluation/3"
MEAN = "mean"
"""`Score.result` of a mean over several clips. If several methods are compared, each mean has the name of the method's folder instead."""

Shard = tuple[int, int]
_SIDES = ("results", "references", "repeated", "warped")


@dataclass(frozen=True)
class PartialResult:
    """metrics: their names; shards: those of the evaluation that are in here, [(0, 1)] for all of it; fingerprint: identifies
    the results and the options of the evaluation; pairs: (result, reference) of all results in here; scores: of single results;
    sides: (pool, extractor) -> statistics; clips: pool -> number of results; reasons: (pool, metric) -> why there is no figure."""

    metrics: tuple[str, ...]
    shards: tuple[Shard, ...] = ((0, 1),)
    fingerprint: str = ""
    pairs: tuple[tuple[str, str], ...] = ()
    scores: list[Score] = field(default_factory=list)
    sides: dict[tuple[str, str], SetStatistics] = field(default_factory=dict)
    clips: dict[str, int] = field(default_factory=dict)
    reasons: dict[tuple[str, str], str] = field(default_factory=dict)

    def add(self, pool: str, clips: int, sides: dict[str, SetStatistics]) -> None:
        """Add the statistics of `clips` more results of a pool. sides: extractor's name -> statistics."""
        self.clips[pool] = self.clips.get(pool, 0) + clips
        for extractor, more in sides.items():
            so_far = self.sides.get((pool, extractor))
            self.sides[pool, extractor] = more if so_far is None else so_far + more

    def __add__(self, other: PartialResult) -> PartialResult:
        shards, pairs, scores = self.shards + other.shards, self.pairs + other.pairs, self.scores + other.scores
        joined = PartialResult(self.metrics, shards, self.fingerprint, pairs, scores, dict(self.sides), dict(self.clips))
        joined.reasons.update({**other.reasons, **self.reasons})
        for pool, clips in other.clips.items():
            joined.add(pool, clips, {extractor: sides for (name, extractor), sides in other.sides.items() if name == pool})
        return joined

    def aggregate_scores(self) -> Iterator[Score]:
        """The scores of all results together: distributions for each pool, then, with several references, means."""
        metrics = [find_metric(name) for name in self.metrics]
        for pool in self.clips:
            for metric in metrics:
                if isinstance(metric, Distribution):
                    yield self._of_pool(pool, metric)
        for name, scores in methods(self.scores).items():
            yield from means(name, scores, [metric for metric in metrics if isinstance(metric, Metric)])

    def _of_pool(self, pool: str, metric: Distribution) -> Score:
        score = Score(pool, "", metric.name, metric.unit, metric.better, clips=self.clips[pool])
        sides = self.sides.get((pool, metric.extractor.name))
        if reason := self.reasons.get((pool, metric.name), ""):
            return replace(score, unavailable=reason)
        if sides is None:
            return replace(score, unavailable="has no features")
        if reason := metric.too_few(sides.results.count):
            return replace(score, unavailable=reason)
        compared = (sides.results, sides.repeated, sides.warped)
        value, baseline, warped = (None if one is None else metric.between(sides.references, one) for one in compared)
        return replace(score, value=value, baseline=baseline, warped=warped, frames=sides.results.count, coverage=1.0)

    def save(self, path: Path) -> None:
        """One .npz file, atomically. Raises InputError when it cannot be written."""
        kept = [[side for side in _SIDES if getattr(sides, side) is not None] for sides in self.sides.values()]
        header = {
            "schema": SCHEMA, "metrics": self.metrics, "shards": self.shards, "whose": self.fingerprint, "pairs": self.pairs,
            "scores": [{**asdict(score), "unavailable": _reason_json(score.unavailable)} for score in self.scores],
            "pools": list(self.sides), "clips": self.clips, "reasons": [[*of, _reason_json(text)] for of, text in self.reasons.items()],
            "sides": kept,
        }  # fmt: skip
        arrays: dict[str, Any] = {"header": np.frombuffer(json.dumps(header).encode(), np.uint8)}
        for index, sides in enumerate(self.sides.values()):
            for side in kept[index]:
                arrays |= getattr(sides, side).arrays(f"{index}.{side}.")
        data = io.BytesIO()
        np.savez(data, **arrays)
        write_atomically(path, data.getvalue())


def load(path: Path) -> PartialResult:
    """Read a file. Raises InputError when it was not written by `PartialResult.save`."""
    try:
        arrays = load_npz(path)
        header = parse_object(arrays["header"].tobytes())
        if header["schema"] != SCHEMA:
            raise InputError(f"{path} is of another version: {header['schema']}", hint="Merge it with the version of fsv2v that wrote it")
        sides = {}
        for index, (pool, kept) in enumerate(zip(header["pools"], header["sides"], strict=True)):
            sides[pool[0], pool[1]] = SetStatistics(**{side: Statistics.from_arrays(arrays, f"{index}.{side}.") for side in kept})
        series = ("series", "baseline_series", "warped_series")
        scores = [
            Score(**{**score, **{name: tuple(score[name]) for name in series}, "unavailable": _reason(score["unavailable"])})
            for score in header["scores"]
        ]
        reasons = {(pool, metric): _reason(text) for pool, metric, text in header["reasons"]}
        shards = tuple((index, count) for index, count in header["shards"])
        pairs = tuple((result, reference) for result, reference in header["pairs"])
        return PartialResult(tuple(header["metrics"]), shards, header["whose"], pairs, scores, sides, header["clips"], reasons)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except READ_ERRORS as problem:
        raise InputError(f"{path} is not a partial result of an evaluation", code="no-partial-result") from problem


def _reason_json(text: str) -> str | dict[str, Any]:
    """A reason for having no figure, as the file holds it."""
    if not isinstance(text, Sentence):
        return text
    return {"message": text.message, "hint": text.hint, "code": text.code, "facts": text.facts}


def _reason(value: str | dict[str, Any]) -> str:
    if isinstance(value, str):
        return value
    return Sentence(str(value["message"]), hint=str(value["hint"]), code=str(value["code"]), facts=dict(value["facts"]))


def require_same(path: Path, part: PartialResult) -> None:
    """Raises ParametersDiffer when the file at `path` holds a partial result of another evaluation than `part`; it is not replaced."""
    if not path.exists():
        return
    existing = load(path)
    if (existing.metrics, existing.shards, existing.fingerprint) != (part.metrics, part.shards, part.fingerprint):
        raise ParametersDiffer(f"{path} belongs to a different evaluation, and is not replaced", code="output-other")


def merge(paths: Sequence[Path]) -> PartialResult:
    """The sum of the files. Raises UsageError when they do not fit together: different metrics, shards of different evaluations, a missing
    shard, a result in two files."""
    whole = load(paths[0])
    for path in paths[1:]:
        part = load(path)
        if part.metrics != whole.metrics:
            raise UsageError(f"{path} has different metrics from {paths[0]}: {', '.join(part.metrics)}")
        # whole evaluations of different results may be merged, shards must come from the same one
        if part.fingerprint != whole.fingerprint and max(count for _, count in part.shards + whole.shards) > 1:
            hint = "Run every shard with the same results and references, by the same names in the same order, and the same options"
            raise UsageError(f"{path} and {paths[0]} are shards of different evaluations", hint=hint)
        whole += part
    counts = {count for _, count in whole.shards}
    if len(counts) > 1:
        raise UsageError(
            f"The files have different numbers of shards ({' and '.join(map(str, sorted(counts)))}), so they are of different evaluations"
        )
    (count,) = counts
    if count > 1 and sorted(whole.shards) != [(index, count) for index in range(count)]:
        present = ", ".join(f"{index}/{count}" for index, _ in sorted(whole.shards))
        raise UsageError(f"All {count} shards are needed, each once; these are {present}")
    if len({*whole.pairs}) < len(whole.pairs):
        raise UsageError("A result is in more than one of the files", hint="Name each file once")
    return whole


def methods(scores: Sequence[Score]) -> dict[str, list[Score]]:
    """Name of the mean -> the scores that it is of, for each method that has several results.

    If every result has a reference of its own, all results are of one method; otherwise each set is a method (see `set_names`).
    """
    pairs = list(dict.fromkeys((score.result, score.reference) for score in scores))
    if len(pairs) > 1 and len({reference for _, reference in pairs}) == len(pairs):
        return {MEAN: list(scores)}
    sets = dict(zip(pairs, set_names(pairs), strict=True))
    several = [name for name, count in Counter(sets.values()).items() if count > 1]
    return {name: [score for score in scores if sets[score.result, score.reference] == name] for name in several}


def means(name: str, scores: Sequence[Score], metrics: Sequence[Metric]) -> Iterator[Score]:
    """The mean of each metric. Clips have equal weight, whatever their length; those without a figure count in the coverage alone."""
    for metric in metrics:
        of_metric = [score for score in scores if score.metric == metric.name]
        measured = [score for score in of_metric if score.value is not None]
        if measured:
            low, high = intervals.of_clips([score.value for score in measured if score.value is not None])
            yield replace(
                measured[0],
                result=name,
                reference="",
                value=_mean([score.value for score in measured]),
                frames=sum(score.frames for score in measured),
                coverage=_mean([score.coverage for score in of_metric]),
                baseline=_mean([score.baseline for score in measured]),
                warped=_mean([score.warped for score in measured]),
                floor=_mean([score.floor for score in measured]),
                clips=len(measured),
                low=low,
                high=high,
                series=(),
                baseline_series=(),
                warped_series=(),
            )


def _mean(values: Sequence[float | None]) -> float | None:
    found = [value for value in values if value is not None]
    return sum(found) / len(found) if found else None
