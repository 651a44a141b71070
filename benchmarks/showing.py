"""How results of held-out people and places are shown: contact sheets to look at, and tables."""

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

TIMES = 4
TITLE = 18


def contact_sheet(path: Path, kind: str, size: tuple[int, int], examples: Clip, judged: Clip, results: Mapping[str, Clip]) -> None:
    """Four times as rows: an example, what drives, each result, the truth. PNG."""
    track = open_track(judged, kind)
    view = View.scaled(judged.height, judged.width, *size)
    times = np.linspace(0, judged.num_frames - 1, TIMES + 2).round().astype(int)[1:-1]
    rows = [
        [view.image(examples.frame(number % examples.num_frames)), track.drawing(int(time), view)]
        + [result.frame(int(time)) for result in results.values()]
        + [view.image(judged.frame(int(time)))]
        for number, time in enumerate(times)
    ]
    sheet = np.concatenate([np.concatenate(row, 1) for row in rows])
    titled = np.full((len(sheet) + TITLE, *sheet.shape[1:]), 255, np.uint8)
    titled[TITLE:] = sheet
    for column, name in enumerate(("example", "driving", *results, "truth")):
        cv2.putText(titled, name, (4 + column * size[1], 13), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), titled[..., ::-1])


def mean(scores: Sequence[Scores]) -> Scores:
    """Of each figure over those that have it."""
    variants = dict.fromkeys(variant for score in scores for variant in score)
    return {variant: _mean([score[variant] for score in scores if variant in score]) for variant in variants}


def _mean(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    metrics = dict.fromkeys(metric for row in rows for metric in row)
    return {metric: float(np.mean([row[metric] for row in rows if metric in row])) for metric in metrics}


def summary(scores: Scores, metrics: Sequence[str], variants: Sequence[str]) -> str:
    """A row for each metric, a column for each variant."""
    rows = [[metric, *(_figure(scores.get(variant, {}).get(metric)) for variant in variants)] for metric in metrics]
    return _markdown(["metric", *variants], rows)


def by_subject(subjects: Mapping[str, Scores], metrics: Sequence[str], variants: Sequence[str]) -> str:
    """A row for each person or place; in each cell the variants, and in brackets what repeating the example scores."""
    rows = []
    for subject, scores in sorted(subjects.items()):
        figures = [" / ".join(_figure(scores.get(variant, {}).get(metric)) for variant in variants) for metric in metrics]
        repeated = [_figure(scores.get("repeat", {}).get(metric)) for metric in metrics]
        rows.append([subject, *(f"{cell} ({other})" for cell, other in zip(figures, repeated, strict=True))])
    return _markdown(["", *metrics], rows)


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, ["---"] * len(head), *rows])


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"
