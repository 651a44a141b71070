"""Contact sheets and Markdown tables of held-out people and places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from stages.clip import Clip
from stages.conditions.kinds import open_track
from stages.conditions.view import View

Scores = Mapping[str, Mapping[str, float]]
"""variant -> metric -> figure."""

ROWS = 4
"""Rows of a contact sheet."""
TITLE_HEIGHT = 18
"""Pixels above the sheet for the titles of its columns."""


def contact_sheet(path: Path, kind: str, size: tuple[int, int], examples: Clip, reference: Clip, results: Mapping[str, Clip]) -> None:
    """Write a PNG of four moments as rows: an example, the driving image, each result, the truth."""
    track = open_track(reference, kind)
    view = View.scaled(reference.height, reference.width, *size)
    times = np.linspace(0, reference.num_frames - 1, ROWS + 2).round().astype(int)[1:-1]
    rows = [
        [view.image(examples.frame(number % examples.num_frames)), track.drawing(int(time), view)]
        + [result.frame(int(time)) for result in results.values()]
        + [view.image(reference.frame(int(time)))]
        for number, time in enumerate(times)
    ]
    sheet = np.concatenate([np.concatenate(row, 1) for row in rows])
    titled = np.full((len(sheet) + TITLE_HEIGHT, *sheet.shape[1:]), 255, np.uint8)
    titled[TITLE_HEIGHT:] = sheet
    for column, name in enumerate(("example", "driving", *results, "truth")):
        cv2.putText(titled, name, (4 + column * size[1], 13), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), titled[..., ::-1])


def mean(scores: Sequence[Scores]) -> Scores:
    """The mean of each figure over the scores that contain it."""
    variants = dict.fromkeys(variant for score in scores for variant in score)
    return {variant: _mean([score[variant] for score in scores if variant in score]) for variant in variants}


def _mean(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    metrics = dict.fromkeys(metric for row in rows for metric in row)
    return {metric: float(np.mean([row[metric] for row in rows if metric in row])) for metric in metrics}


def summary(scores: Scores, metrics: Sequence[str], variants: Sequence[str]) -> str:
    """A Markdown table with a row for each metric and a column for each variant."""
    rows = [[metric, *(_figure(scores.get(variant, {}).get(metric)) for variant in variants)] for metric in metrics]
    return _markdown(["metric", *variants], rows)


def by_subject(subjects: Mapping[str, Scores], metrics: Sequence[str], variants: Sequence[str]) -> str:
    """A Markdown table with a row for each person or place.

    Each cell contains the figures of the variants, and in brackets that of repeating the example.
    """
    rows = []
    for subject, scores in sorted(subjects.items()):
        figures = [" / ".join(_figure(scores.get(variant, {}).get(metric)) for variant in variants) for metric in metrics]
        repeated = [_figure(scores.get("repeat", {}).get(metric)) for metric in metrics]
        rows.append([subject, *(f"{cell} ({baseline})" for cell, baseline in zip(figures, repeated, strict=True))])
    return _markdown(["", *metrics], rows)


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, ["---"] * len(head), *rows])


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"
