"""Reports the results of an experiment as Markdown, JSON, a plot and sheets of frames, and states which claims of the papers hold."""

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
from intervals import format_interval, mean_and_half_width, paired_verdict
from numpy.typing import NDArray
from scoring import REAL, REPEAT, Figures, better, unit
from sources import Row

from stages.clip import Clip, open_clip
from stages.conditions.kinds import open_track
from stages.conditions.view import View
from stages.io.files import write_atomically

matplotlib.use("Agg")
from matplotlib import pyplot

SHEET_CLIPS, DPI = 4, 160
"""Number of held-out clips on a sheet of frames, and the resolution of all images in dots per inch."""
TIME_SHEET_CLIPS, TIMES = 2, 5
"""Number of held-out clips on a sheet over time, and number of frames of each clip."""
Table = dict[str, dict[str, dict[int, float]]]
"""variant -> metric -> seed -> value."""
Plot = Callable[[Path, Table, Sequence[str]], None]
"""(path of the image, table, metrics): a function that plots these metrics of the table and writes the image."""


@dataclass(frozen=True)
class Claim:
    """The claim of a paper that `method` is better in `metric` than each of the `others`.

    ratio: the figure of the method relative to that of the best other one, in the paper.
    """

    metric: str
    method: str
    others: tuple[str, ...]
    ratio: float | None = None


def table_of(figures: Sequence[Figures]) -> Table:
    """The figures by variant and metric, with rows for repeating the example and for the real frames."""
    table: Table = {}
    for run in figures:
        for metric, value in run.values.items():
            table.setdefault(run.variant, {}).setdefault(metric, {})[run.seed] = value
        for name, known in ((REPEAT, run.repeat), (REAL, run.real)):
            for metric, value in known.items():
                table.setdefault(name, {})[metric] = {0: value}
    references = {name: table.pop(name) for name in (REPEAT, REAL) if name in table}
    return table | references


def markdown(table: Table, metrics: Sequence[str]) -> str:
    """Means and 95 % intervals over seeds; the best mean of the methods in bold."""
    columns = measured_metrics(table, metrics)
    heads = [" ".join(filter(None, [metric, f"({unit(metric)})" if unit(metric) else "", _ARROW[better(metric)]])) for metric in columns]
    lines = [f"| {' | '.join(['', *heads])} |", "| --- |" + " --- |" * len(heads)]
    best = {metric: _best(table, metric) for metric in columns}
    for name, row in table.items():
        cells = [_cell(row.get(metric), name == best[metric]) for metric in columns]
        lines.append(f"| {' | '.join([name, *cells])} |")
    return "\n".join(lines)


def measured_metrics(table: Table, metrics: Sequence[str]) -> list[str]:
    """The metrics for which at least one method has a figure."""
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
    text = format_interval(*mean_and_half_width(list(values.values())))
    return f"**{text}**" if best else text


def check_claims(table: Table, claims: Sequence[Claim]) -> list[str]:
    """A sentence for each claim: whether it holds here against the best other method, and the ratio."""
    sentences = []
    for claim in claims:
        own = table.get(claim.method, {}).get(claim.metric)
        others = {name: table[name] for name in claim.others if claim.metric in table.get(name, {})}
        if own is None or not others:
            sentences.append(f"{claim.metric}, {claim.method}: not compared")
            continue
        best = _best(others, claim.metric)
        baseline = others[best][claim.metric]
        ratio = f"{_mean(own) / _mean(baseline):.2f}" if _mean(baseline) else "undefined"
        in_paper = f" (in the paper {claim.ratio:.2f})" if claim.ratio is not None else ""
        seeds = sorted(own.keys() & baseline.keys())
        verdict = paired_verdict([own[seed] for seed in seeds], [baseline[seed] for seed in seeds], better(claim.metric))
        compared = best if len(claim.others) == 1 else f"the best of the others, {best}"
        sentences.append(f"{claim.metric}: {claim.method} better than {compared}: **{verdict}**; ratio {ratio}{in_paper}")
    return sentences


def write_report(
    experiment: Experiment, name: str, title: str, figures: Sequence[Figures], claims: Sequence[Claim], extra: str = "",
    settings: Mapping[str, Any] | None = None, plot: Plot | None = None,
) -> str:  # fmt: skip
    """Write NAME.md, NAME.json and NAME.png (by `plot`) to the experiment's folder.

    Returns the Markdown. extra: Markdown after the table.
    """
    table = table_of(figures)
    known = measured_metrics(table, experiment.metrics)
    missing = {metric: reason for run in figures for metric, reason in run.missing.items()}
    verdicts = check_claims(table, [claim for claim in claims if claim.metric in known])
    hardware = f"{platform.machine()}, torch {torch.__version__}, {_device()}"
    seeds, clips, command = len({run.seed for run in figures}), len(experiment.held_out), shlex.join(["python", *sys.argv])
    parts = [
        f"## {title}",
        markdown(table, experiment.metrics),
        f"{seeds} seeds, {clips} held-out clips; mean ± 95 % interval over seeds (Student's t). {hardware}. `{command}`",
        training_costs(figures),
        extra,
        "\n".join(f"- {sentence}" for sentence in verdicts),
        missing_metrics(figures, known),
    ]
    text = "\n\n".join(part for part in parts if part) + "\n"
    header = {"title": title, "command": command, "hardware": hardware, "settings": dict(settings or {})}
    content = {**header, "missing": missing, "verdicts": verdicts, "table": table, "runs": [asdict(f) for f in figures]}
    write_atomically(experiment.out / f"{name}.md", text.encode())
    write_atomically(experiment.out / f"{name}.json", json.dumps(content, indent=1).encode())
    (plot or bar_plot)(experiment.out / f"{name}.png", table, known)
    return text


def missing_metrics(figures: Sequence[Figures], known: Sequence[str]) -> str:
    """A line for each missing metric, with the reason.

    known: the metrics that some variants have. For these the line names the variants that lack them.
    """
    lacking: dict[tuple[str, str], dict[str, None]] = {}
    for run in figures:
        for metric, reason in run.missing.items():
            lacking.setdefault((metric, reason), {})[run.variant] = None
    subjects = {key: f"{key[0]} of {', '.join(variants)}" if key[0] in known else key[0] for key, variants in lacking.items()}
    return "\n".join(f"- {subject} is left out: {reason}" for (_, reason), subject in subjects.items())


def training_costs(figures: Sequence[Figures]) -> str:
    """A sentence with the number of parameters and the mean training time of each variant."""
    runs: dict[str, list[Figures]] = {}
    for run in figures:
        runs.setdefault(run.variant, []).append(run)
    entries = [f"{name} {own[0].parameters / 1e6:.2f} M, {fmean(run.minutes for run in own):.1f} min" for name, own in runs.items()]
    return f"Parameters and minutes of training: {'; '.join(entries)}."


def _device() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else f"{torch.get_num_threads()} CPU threads"


def bar_plot(path: Path, table: Table, metrics: Sequence[str]) -> None:
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
    save_figure(figure, path)


def line_plot(x_values: Mapping[str, float], label: str) -> Plot:
    """A plot with a panel for each metric. x_values: for each row of the table its position on the x axis. label: of the x axis."""

    def plot(path: Path, table: Table, metrics: Sequence[str]) -> None:
        figure, panels = pyplot.subplots(1, len(metrics), figsize=(3.2 * len(metrics), 2.6), squeeze=False)
        for panel, metric in zip(panels[0], metrics, strict=True):
            known = [name for name in x_values if metric in table.get(name, {})]
            pairs = [mean_and_half_width(list(table[name][metric].values())) for name in known]
            x = [x_values[name] for name in known]
            panel.errorbar(x, [mean for mean, _ in pairs], [half or 0 for _, half in pairs], marker="o", capsize=3)
            panel.set(xlabel=label, title=f"{metric} {_ARROW[better(metric)]}", xticks=x)
        save_figure(figure, path)

    return plot


def write_frame_sheet(experiment: Experiment, variants: Sequence[Variant], path: Path) -> None:
    """Write an image with a row for each of a few held-out clips: example, driving image, results of the first seed, truth."""
    clips = experiment.test_clips()[:SHEET_CLIPS]
    names = ["example", "driving", *(variant.name for variant in variants), "truth"]
    figure, panels = pyplot.subplots(len(clips), len(names), figsize=(1.25 * len(names), 2.4 * len(clips)), squeeze=False)
    for line, (row, examples, reference) in zip(panels, clips, strict=True):
        results = [open_clip(experiment.out / "results" / v.folder / "seed-0" / f"{row['id']}.clip") for v in variants]
        time, view = reference.num_frames // 2, View.scaled(reference.height, reference.width, reference.height, reference.width)
        driving = open_track(reference, experiment.kind).drawing(time, view)
        images = [examples.frame(0), driving, *(result.frame(time) for result in results), reference.frame(time)]
        for panel, name, image in zip(line, names, images, strict=True):
            panel.imshow(image, extent=(0, reference.width, reference.height, 0))
            panel.set_title(name, fontsize=7)
            panel.axis("off")
    save_figure(figure, path)


def write_time_sheet(experiment: Experiment, variants: Sequence[Variant], path: Path) -> None:
    """Write an image of a few held-out clips over time, with rows for driving images, each method's results (first seed) and truth."""
    clips = experiment.test_clips()[:TIME_SHEET_CLIPS]
    rows = [row for clip in clips for row in _rows_over_time(experiment, variants, clip)]
    figure, panels = pyplot.subplots(len(rows), TIMES, figsize=(2.4 * TIMES, 1.4 * len(rows)), squeeze=False)
    for line, (name, images) in zip(panels, rows, strict=True):
        for panel, (time, image) in zip(line, images.items(), strict=False):
            panel.imshow(image)
            panel.set_title(f"{name}, frame {time + 1}", fontsize=6)
        for panel in line:
            panel.axis("off")
    save_figure(figure, path)


def _rows_over_time(
    experiment: Experiment, variants: Sequence[Variant], clip: tuple[Row, Clip, Clip]
) -> list[tuple[str, dict[int, NDArray[np.uint8]]]]:
    """Rows of the sheet: (name, time -> image)."""
    row, _, reference = clip
    times = [round(time) for time in np.linspace(0, reference.num_frames - 1, min(TIMES, reference.num_frames))]
    track, view = open_track(reference, experiment.kind), View.scaled(reference.height, reference.width, reference.height, reference.width)
    results = {v.name: open_clip(experiment.out / "results" / v.folder / "seed-0" / f"{row['id']}.clip") for v in variants}
    drawn = [("driving", {time: track.drawing(time, view) for time in times})]
    return drawn + [(name, {time: shown.frame(time) for time in times}) for name, shown in {**results, "truth": reference}.items()]


def save_figure(figure: Any, path: Path) -> None:
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DPI)
    pyplot.close(figure)
