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
"""`Score.result` of a mean over several clips. If several methods are compared, it is the path of the method's folder instead."""

Shard = tuple[int, int]
_STATISTICS = ("results", "references", "repeated", "warped")
"""The fields of `SetStatistics`."""


@dataclass(frozen=True)
class PartialResult:
    """The scores and statistics of some results of an evaluation.

    A set is the results that a metric of distributions, such as FID, compares together; `set_names` forms and names the sets.

    metrics: their names.
    shards: (index, count) of each shard that it contains, ((0, 1),) for a whole evaluation.
    fingerprint: identifies the results and the options of the evaluation.
    pairs: (result, reference) of all results that it contains.
    scores: of single results.
    statistics: (set, extractor) -> statistics.
    clips: set -> number of results.
    reasons: (set, metric) -> why there is no figure.
    """

    metrics: tuple[str, ...]
    shards: tuple[Shard, ...] = ((0, 1),)
    fingerprint: str = ""
    pairs: tuple[tuple[str, str], ...] = ()
    scores: list[Score] = field(default_factory=list)
    statistics: dict[tuple[str, str], SetStatistics] = field(default_factory=dict)
    clips: dict[str, int] = field(default_factory=dict)
    reasons: dict[tuple[str, str], str] = field(default_factory=dict)

    def add(self, name: str, clips: int, statistics: dict[str, SetStatistics]) -> None:
        """Add the statistics (by the extractor's name) of `clips` more results to the set `name`."""
        self.clips[name] = self.clips.get(name, 0) + clips
        for extractor, added in statistics.items():
            earlier = self.statistics.get((name, extractor))
            self.statistics[name, extractor] = added if earlier is None else earlier + added

    def __add__(self, other: PartialResult) -> PartialResult:
        shards, pairs, scores = self.shards + other.shards, self.pairs + other.pairs, self.scores + other.scores
        joined = PartialResult(self.metrics, shards, self.fingerprint, pairs, scores, dict(self.statistics), dict(self.clips))
        joined.reasons.update({**other.reasons, **self.reasons})
        for name, clips in other.clips.items():
            joined.add(name, clips, {extractor: added for (of_set, extractor), added in other.statistics.items() if of_set == name})
        return joined

    def aggregate_scores(self) -> Iterator[Score]:
        """Scores over several results: of each set by metrics such as FID, then the means of each method (see `group_by_method`)."""
        metrics = [find_metric(name) for name in self.metrics]
        for name in self.clips:
            for metric in metrics:
                if isinstance(metric, Distribution):
                    yield self._set_score(name, metric)
        for name, scores in group_by_method(self.scores).items():
            yield from mean_scores(name, scores, [metric for metric in metrics if isinstance(metric, Metric)])

    def _set_score(self, name: str, metric: Distribution) -> Score:
        score = Score(name, "", metric.name, metric.unit, metric.better, clips=self.clips[name])
        statistics = self.statistics.get((name, metric.extractor.name))
        if reason := self.reasons.get((name, metric.name), ""):
            return replace(score, unavailable=reason)
        if statistics is None:
            return replace(score, unavailable="has no features")
        if reason := metric.too_few(statistics.results.count):
            return replace(score, unavailable=reason)
        candidates = (statistics.results, statistics.repeated, statistics.warped)
        value, baseline, warped = (None if one is None else metric.compare(statistics.references, one) for one in candidates)
        return replace(score, value=value, baseline=baseline, warped=warped, frames=statistics.results.count, coverage=1.0)

    def save(self, path: Path) -> None:
        """Write one .npz file, atomically. Raises InputError when it cannot be written."""
        present = [[name for name in _STATISTICS if getattr(of_set, name) is not None] for of_set in self.statistics.values()]
        # pools: the keys of `statistics`; sides: the fields of each `SetStatistics` that are not None
        header = {
            "schema": SCHEMA, "metrics": self.metrics, "shards": self.shards, "whose": self.fingerprint, "pairs": self.pairs,
            "scores": [{**asdict(score), "unavailable": _reason_json(score.unavailable)} for score in self.scores],
            "pools": list(self.statistics), "clips": self.clips,
            "reasons": [[*key, _reason_json(text)] for key, text in self.reasons.items()],
            "sides": present,
        }  # fmt: skip
        arrays: dict[str, Any] = {"header": np.frombuffer(json.dumps(header).encode(), np.uint8)}
        for index, of_set in enumerate(self.statistics.values()):
            for name in present[index]:
                arrays |= getattr(of_set, name).arrays(f"{index}.{name}.")
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
        statistics = {}
        for index, ((name, extractor), sides) in enumerate(zip(header["pools"], header["sides"], strict=True)):
            statistics[name, extractor] = SetStatistics(**{side: Statistics.from_arrays(arrays, f"{index}.{side}.") for side in sides})
        series = ("series", "baseline_series", "warped_series")
        scores = [
            Score(**{**score, **{name: tuple(score[name]) for name in series}, "unavailable": _reason(score["unavailable"])})
            for score in header["scores"]
        ]
        reasons = {(name, metric): _reason(text) for name, metric, text in header["reasons"]}
        shards = tuple((index, count) for index, count in header["shards"])
        pairs = tuple((result, reference) for result, reference in header["pairs"])
        return PartialResult(tuple(header["metrics"]), shards, header["whose"], pairs, scores, statistics, header["clips"], reasons)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except READ_ERRORS as problem:
        raise InputError(f"{path} is not a partial result of an evaluation", code="no-partial-result") from problem


def _reason_json(text: str) -> str | dict[str, Any]:
    """A reason why there is no figure, in the form that the file stores."""
    if not isinstance(text, Sentence):
        return text
    return {"message": text.message, "hint": text.hint, "code": text.code, "facts": text.facts}


def _reason(value: str | dict[str, Any]) -> str:
    """The inverse of `_reason_json`."""
    if isinstance(value, str):
        return value
    return Sentence(str(value["message"]), hint=str(value["hint"]), code=str(value["code"]), facts=dict(value["facts"]))


def require_same(path: Path, part: PartialResult) -> None:
    """Raises ParametersDiffer when the file at `path` is the partial result of a different evaluation or shard than `part`."""
    if not path.exists():
        return
    existing = load(path)
    if (existing.metrics, existing.shards, existing.fingerprint) != (part.metrics, part.shards, part.fingerprint):
        raise ParametersDiffer(f"{path} belongs to a different evaluation or shard, and is not replaced", code="output-other")


def merge(paths: Sequence[Path]) -> PartialResult:
    """Load the files and add them. Raises UsageError for different metrics, shards of different evaluations, a missing shard, or a result
    in two files."""
    whole = load(paths[0])
    for path in paths[1:]:
        part = load(path)
        if part.metrics != whole.metrics:
            raise UsageError(f"{path} has different metrics from {paths[0]}: {', '.join(part.metrics)}")
        # whole evaluations of different results may be merged; shards must belong to one evaluation
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
        raise UsageError(f"All {count} shards are needed, each once, but the files hold {present}")
    if len({*whole.pairs}) < len(whole.pairs):
        raise UsageError("A result is in more than one of the files", hint="Give each file once")
    return whole


def group_by_method(scores: Sequence[Score]) -> dict[str, list[Score]]:
    """Name of the mean -> the scores that are averaged, for each method that has several results.

    If every result has a different reference, all results belong to one method; otherwise each set is a method (see `set_names`).
    """
    pairs = list(dict.fromkeys((score.result, score.reference) for score in scores))
    if len(pairs) > 1 and len({reference for _, reference in pairs}) == len(pairs):
        return {MEAN: list(scores)}
    sets = dict(zip(pairs, set_names(pairs), strict=True))
    several = [name for name, count in Counter(sets.values()).items() if count > 1]
    return {name: [score for score in scores if sets[score.result, score.reference] == name] for name in several}


def mean_scores(name: str, scores: Sequence[Score], metrics: Sequence[Metric]) -> Iterator[Score]:
    """The mean of each metric. Clips have equal weight, whatever their length. Clips without a figure count only in the coverage."""
    for metric in metrics:
        all_of_metric = [score for score in scores if score.metric == metric.name]
        measured = [score for score in all_of_metric if score.value is not None]
        if measured:
            low, high = intervals.of_clips([score.value for score in measured if score.value is not None])
            yield replace(
                measured[0],
                result=name,
                reference="",
                value=_mean([score.value for score in measured]),
                frames=sum(score.frames for score in measured),
                coverage=_mean([score.coverage for score in all_of_metric]),
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
    present = [value for value in values if value is not None]
    return sum(present) / len(present) if present else None
