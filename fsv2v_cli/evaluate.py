"""fsv2v evaluate: figures of merit of results, beside what repeating the example picture would score."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from stages.evaluate import Score

COLUMNS = ("result", "metric", "value", "unit", "better", "baseline", "floor", "coverage", "frames", "note")


def table(scores: Sequence[Score]) -> list[str]:
    """Aligned lines, a heading first: one row per result and metric."""
    rows = [COLUMNS, *(_cells(score) for score in scores)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _cells(score: Score) -> tuple[str, ...]:
    coverage = "-" if score.coverage is None else f"{score.coverage:.0%}"
    note = f"unavailable: {score.unavailable}" if score.unavailable else f"{score.clips} clips" if score.clips > 1 else ""
    figures = (_figure(score.baseline), _figure(score.floor), coverage, str(score.frames), note)
    return (score.result, score.metric, _figure(score.value), score.unit or "-", score.better, *figures)


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}" if abs(value) >= 10 else f"{value:.4f}"
