"""Evaluation of results."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike, fspath
from typing import Any

from stages.clip import Clip
from stages.evaluate import Score


def evaluate(
    results: str | PathLike[str] | Clip | Sequence[str | PathLike[str] | Clip],
    references: str | PathLike[str] | Clip | Sequence[str | PathLike[str] | Clip],
    *,
    metrics: Sequence[str] = (),
    **options: Any,
) -> list[Score]:
    """Measure results of `synthesize` against references of equal length: clips, videos or folders of images.

    references: one for all results, or one for each.
    metrics: their names; by default all that can run here, except those that run only by name.
    options: the other fields of `stages.evaluate.EvaluateOptions`: driving, example, landmarks, device, cache.

    Raises InputError when a result and its reference cannot be compared, MissingRequirement when one of `metrics` cannot run.
    """
    from stages.evaluate import EvaluateOptions
    from stages.evaluate import evaluate as measure

    return list(measure(_paths(results), _paths(references), EvaluateOptions(tuple(metrics), **options)))


def _paths(sources: str | PathLike[str] | Clip | Sequence[str | PathLike[str] | Clip]) -> list[str]:
    listed = sources if isinstance(sources, Sequence) and not isinstance(sources, str) else [sources]
    return [fspath(source.path if isinstance(source, Clip) else source) for source in listed]
