"""What an experiment found, as Markdown, as JSON, as a figure and as images to look at; and which claims of the papers hold here."""

from __future__ import annotations

import json
import platform
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import matplotlib
import numpy as np
import torch
from experiment import Experiment, Variant
from intervals import formatted, mean_and_half_width, paired_verdict
from judging import REAL, REPEAT, Figures, better, unit
from numpy.typing import NDArray
from sources import Row

from stages.clip import Clip, open_clip
from stages.conditions.kinds import open_track
from stages.conditions.view import View
from stages.io.files import write_atomically

matplotlib.use("Agg")
from matplotlib import pyplot

ROWS, MAGNIFIED = 4, 160
"""Held-out clips on a sheet, and the height in pixels at which each image is formatted."""
CLIPS_OVER_TIME, TIMES = 2, 5
"""The same of a sheet over time, and how many moments it shows."""
Table = dict[str, dict[str, dict[int, float]]]
"""variant -> metric -> seed -> value; nothing where nothing was measured."""
Plot = Callable[[Path, Table, Sequence[str]], None]


@dataclass(frozen=True)
class Claim:
    """The paper says that `ours` is better in `metric` than each of the `others`. ratio: ours to the best of them, in the paper."""

    metric: str
    ours: str
    others: tuple[str, ...]
    ratio: float | None = None


def table_of(figures: Sequence[Figures]) -> Table:
    """The figures by variant and metric, with rows for repeating the example and for the real frames."""
    table: Table = {}
    for found in figures:
        for metric, value in found.values.items():
            table.setdefault(found.variant, {}).setdefault(metric, {})[found.seed] = value
        for name, known in ((REPEAT, found.repeat), (REAL, found.real)):
            for metric, value in known.items():
                table.setdefault(name, {})[metric] = {0: value}
    bounds = {name: table.pop(name) for name in (REPEAT, REAL) if name in table}
    return table | bounds


def markdown(table: Table, metrics: Sequence[str]) -> str:
    """Means and 95 % intervals over seeds; the best mean of the methods in bold."""
    columns = measured(table, metrics)
    heads = [" ".join(filter(None, [metric, f"({unit(metric)})" if unit(metric) else "", _ARROW[better(metric)]])) for metric in columns]
    lines = [f"| {' | '.join(['', *heads])} |", "| --- |" + " --- |" * len(heads)]
    best = {metric: _best(table, metric) for metric in columns}
    for name, row in table.items():
        cells = [_cell(row.get(metric), name == best[metric]) for metric in columns]
        lines.append(f"| {' | '.join([name, *cells])} |")
    return "\n".join(lines)


def measured(table: Table, metrics: Sequence[str]) -> list[str]:
    """The metrics of which there is a figure of any method."""
    return [metric for metric in metrics if any(metric in row for name, row in table.items() if name not in (REPEAT, REAL))]


_ARROW = {"lower": "↓", "higher": "↑"}


def _best(table: Table, metric: str) -> str:
    means = {name: _mean(row[metric]) for name, row in table.items() if metric in row and name not in (REPEAT, REAL)}
    choose: Callable[..., str] = max if better(metric) == "higher" else min
    return choose(means, key=lambda name: means[name]) if means else ""


def _mean(values: Mapping[int, float]) -> float:
    return mean_and_half_width(list(values.values()))[0]


def _cell(values: Mapping[int, float] | None, best: bool) -> str:
    if values is None:
        return "n/a"
    text = formatted(*mean_and_half_width(list(values.values())))
    return f"**{text}**" if best else text


def findings(table: Table, claims: Sequence[Claim]) -> list[str]:
    """A sentence for each claim: whether it holds here against the best of the others, and by how much."""
    said = []
    for claim in claims:
        ours = table.get(claim.ours, {}).get(claim.metric)
        others = {name: table[name] for name in claim.others if claim.metric in table.get(name, {})}
        if ours is None or not others:
            said.append(f"{claim.metric}, {claim.ours}: not compared")
            continue
        best = _best(others, claim.metric)
        theirs = others[best][claim.metric]
        ratio = f"{_mean(ours) / _mean(theirs):.2f}" if _mean(theirs) else "none, theirs being 0"
        beside = f" (in the paper {claim.ratio:.2f})" if claim.ratio is not None else ""
        both = sorted(ours.keys() & theirs.keys())
        finding = paired_verdict([ours[seed] for seed in both], [theirs[seed] for seed in both], better(claim.metric))
        than = best if len(claim.others) == 1 else f"the best of the others, {best}"
        said.append(f"{claim.metric}: {claim.ours} better than {than}: **{finding}**; ratio {ratio}{beside}")
    return said


def write(
    experiment: Experiment, name: str, title: str, figures: Sequence[Figures], claims: Sequence[Claim], more: str = "",
    settings: Mapping[str, Any] | None = None, plot: Plot | None = None,
) -> str:  # fmt: skip
    """NAME.md, NAME.json and NAME.png (`bars`, unless `plot` draws it) in the experiment's folder. Returns the Markdown."""
    table = table_of(figures)
    known = measured(table, experiment.metrics)
    missing = {metric: reason for found in figures for metric, reason in found.missing.items()}
    said = findings(table, [claim for claim in claims if claim.metric in known])
    hardware = f"{platform.machine()}, torch {torch.__version__}, {_device()}"
    seeds, clips, command = len({found.seed for found in figures}), len(experiment.held_out), shlex.join(["python", *sys.argv])
    parts = [
        f"## {title}",
        markdown(table, experiment.metrics),
        f"{seeds} seeds, {clips} held-out clips; mean ± 95 % interval over seeds (Student's t). {hardware}. `{command}`",
        costs(figures),
        more,
        "\n".join(f"- {sentence}" for sentence in said),
        gaps(figures, known),
    ]
    text = "\n\n".join(part for part in parts if part) + "\n"
    run = {"title": title, "command": command, "hardware": hardware, "settings": dict(settings or {})}
    found = {**run, "missing": missing, "verdicts": said, "table": table, "runs": [asdict(f) for f in figures]}
    write_atomically(experiment.out / f"{name}.md", text.encode())
    write_atomically(experiment.out / f"{name}.json", json.dumps(found, indent=1).encode())
    (plot or bars)(experiment.out / f"{name}.png", table, known)
    return text


def gaps(figures: Sequence[Figures], known: Sequence[str]) -> str:
    """A line for each metric that is missing, everywhere or, of the `known` ones, of some variants, with the reason."""
    of: dict[tuple[str, str], dict[str, None]] = {}
    for found in figures:
        for metric, reason in found.missing.items():
            of.setdefault((metric, reason), {})[found.variant] = None
    subjects = {key: f"{key[0]} of {', '.join(variants)}" if key[0] in known else key[0] for key, variants in of.items()}
    return "\n".join(f"- {subject} is left out: {reason}" for (_, reason), subject in subjects.items())


def costs(figures: Sequence[Figures]) -> str:
    """A sentence: how large the models of each variant are, and how long a run of training took."""
    runs: dict[str, list[Figures]] = {}
    for found in figures:
        runs.setdefault(found.variant, []).append(found)
    said = [f"{name} {own[0].parameters / 1e6:.2f} M, {fmean(run.minutes for run in own):.1f} min" for name, own in runs.items()]
    return f"Parameters and minutes of training: {'; '.join(said)}."


def _device() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else f"{torch.get_num_threads()} CPU threads"


def bars(path: Path, table: Table, metrics: Sequence[str]) -> None:
    """A panel for each metric: a bar for each row with its interval."""
    figure, panels = pyplot.subplots(1, len(metrics), figsize=(3.2 * len(metrics), 0.34 * len(table) + 1.1), squeeze=False)
    for column, metric in enumerate(metrics):
        panel, names = panels[0, column], [name for name in table if metric in table[name]]
        pairs = [mean_and_half_width(list(table[name][metric].values())) for name in names]
        colours = ["#999999" if name in (REPEAT, REAL) else "#3b6ea5" for name in names]
        panel.barh(names, [mean for mean, _ in pairs], xerr=[half or 0 for _, half in pairs], color=colours, capsize=3)
        panel.invert_yaxis()
        panel.set_title(f"{metric} {_ARROW[better(metric)]}", fontsize=9)
        panel.tick_params(labelsize=8)
    save(figure, path)


def lines(places: Mapping[str, float], label: str) -> Plot:
    """Draws a panel for each metric: the rows of the table over the axis `label`, each at its place, with their intervals."""

    def plot(path: Path, table: Table, metrics: Sequence[str]) -> None:
        figure, panels = pyplot.subplots(1, len(metrics), figsize=(3.2 * len(metrics), 2.6), squeeze=False)
        for panel, metric in zip(panels[0], metrics, strict=True):
            known = [name for name in places if metric in table.get(name, {})]
            pairs = [mean_and_half_width(list(table[name][metric].values())) for name in known]
            x = [places[name] for name in known]
            panel.errorbar(x, [mean for mean, _ in pairs], [half or 0 for _, half in pairs], marker="o", capsize=3)
            panel.set(xlabel=label, title=f"{metric} {_ARROW[better(metric)]}", xticks=x)
        save(figure, path)

    return plot


def sheet(experiment: Experiment, variants: Sequence[Variant], path: Path) -> None:
    """Frames of the first seed: for a few held-out clips the example, what drives, each method, the truth."""
    clips = experiment.cuts()[:ROWS]
    names = ["example", "driving", *(variant.name for variant in variants), "truth"]
    figure, panels = pyplot.subplots(len(clips), len(names), figsize=(1.25 * len(names), 2.4 * len(clips)), squeeze=False)
    for line, (row, examples, judged) in zip(panels, clips, strict=True):
        results = [open_clip(experiment.out / "results" / v.folder / "seed-0" / f"{row['id']}.clip") for v in variants]
        time, view = judged.num_frames // 2, View.scaled(judged.height, judged.width, judged.height, judged.width)
        driving = open_track(judged, experiment.kind).drawing(time, view)
        images = [examples.frame(0), driving, *(result.frame(time) for result in results), judged.frame(time)]
        for panel, name, image in zip(line, names, images, strict=True):
            panel.imshow(image, extent=(0, judged.width, judged.height, 0))
            panel.set_title(name, fontsize=7)
            panel.axis("off")
    save(figure, path)


def over_time(experiment: Experiment, variants: Sequence[Variant], path: Path) -> None:
    """Frames of the first seed and the first held-out clips: a row for what drives, each method and the truth, a column for each time."""
    clips = experiment.cuts()[:CLIPS_OVER_TIME]
    rows = [row for clip in clips for row in _rows_over_time(experiment, variants, clip)]
    figure, panels = pyplot.subplots(len(rows), TIMES, figsize=(2.4 * TIMES, 1.4 * len(rows)), squeeze=False)
    for line, (name, images) in zip(panels, rows, strict=True):
        for panel, (time, image) in zip(line, images.items(), strict=False):
            panel.imshow(image)
            panel.set_title(f"{name}, frame {time + 1}", fontsize=6)
        for panel in line:
            panel.axis("off")
    save(figure, path)


def _rows_over_time(
    experiment: Experiment, variants: Sequence[Variant], clip: tuple[Row, Clip, Clip]
) -> list[tuple[str, dict[int, NDArray[np.uint8]]]]:
    """A name and images by their times."""
    row, _, judged = clip
    times = [round(time) for time in np.linspace(0, judged.num_frames - 1, min(TIMES, judged.num_frames))]
    track, view = open_track(judged, experiment.kind), View.scaled(judged.height, judged.width, judged.height, judged.width)
    results = {v.name: open_clip(experiment.out / "results" / v.folder / "seed-0" / f"{row['id']}.clip") for v in variants}
    drawn = [("driving", {time: track.drawing(time, view) for time in times})]
    return drawn + [(name, {time: shown.frame(time) for time in times}) for name, shown in {**results, "truth": judged}.items()]


def save(figure: Any, path: Path) -> None:
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=MAGNIFIED)
    pyplot.close(figure)
