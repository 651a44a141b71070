"""Figures of merit of results."""

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
    """Measure results of `synthesize` against what they should look like: clips, videos or folders of images of equal length.

    metrics: their names; by default all that can run here. references: one for all results, or one for each. options: the fields of
    `stages.evaluate.EvaluateOptions`: driving, example, landmarks, device, cache. Raises InputError when a result and its reference cannot
    be compared, MissingRequirement when a metric that was named cannot run.
    """
    from stages.evaluate import EvaluateOptions
    from stages.evaluate import evaluate as measure

    return list(measure(_paths(results), _paths(references), EvaluateOptions(tuple(metrics), **options)))


def _paths(sources: str | PathLike[str] | Clip | Sequence[str | PathLike[str] | Clip]) -> list[str]:
    named = sources if isinstance(sources, Sequence) and not isinstance(sources, str) else [sources]
    return [fspath(one.path if isinstance(one, Clip) else one) for one in named]
