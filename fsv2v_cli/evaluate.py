"""fsv2v evaluate: metrics of results, and of two baselines for comparison."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fsv2v_cli.console import align_columns, emit, events, only_data_on_stdout, warning
from fsv2v_cli.hints import with_hint
from fsv2v_cli.options import (
    Inputs,
    Run,
    address_option,
    common_options,
    default_group,
    device_option,
    engine_option,
    inputs_argument,
    jobs_option,
    out_option,
    path_option,
    shard_option,
)
from fsv2v_cli.study import score, study

if TYPE_CHECKING:
    from stages.evaluate import EvaluateOptions, Score
    from stages.evaluate.measure import OnEvent

COLUMNS = ("result", "metric", "value", "interval", "unit", "better", "baseline", "warped", "floor", "coverage", "frames", "note")


@default_group("evaluate", [study, score])
@inputs_argument
@path_option(
    "--reference",
    "-r",
    "references",
    multiple=True,
    metavar="R",
    help="The true video: one for all results, one for each (repeat the option), or a folder with one for each result, by its name. "
    "Required, except with --merge.",
)
@path_option(
    "--driving",
    default="",
    metavar="D",
    help="The clip that the results follow, with landmarks, poses or label maps. Default: the layer that synthesize stored in the result; "
    "without it, the landmarks of the reference.",
)
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="NAME",
    help="Metrics of frames: psnr, ssim, ms-ssim, lpips, perceptual, landmark-error, pose-error, pose-error-pixels, segment-miou, "
    "pixel-accuracy, identity, warping-error, flicker; only if named: identity-dlib (with identity-dlib-same), "
    "iris-error and expression. Metrics of distributions: fid, kid, fid-squeezenet, kid-squeezenet, fvd, video-fid-i3d, video-fid-resnext, "
    "fvd-squeezenet. May be repeated. Default: all that can run here for this driving kind, except those that must be named.",
)
@path_option(
    "--example",
    default="",
    metavar="IMAGE",
    help="The image of the baselines. Default: the reference's first frame, which is then not scored.",
)
@click.option(
    "--landmarks",
    default="auto",
    show_default=True,
    metavar="BACKEND",
    help="Landmark detector of landmark-error and identity; see extract-sketch.",
)
@click.option(
    "--html",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    metavar="FILE",
    help="Also write a page with tables, curves over time, and the videos side by side with error maps. An older page is replaced.",
)
@jobs_option
@shard_option
@engine_option
@address_option
@out_option("Also write the scores and the statistics of features to a file, for --merge.", metavar="PART.npz")
@click.option("--merge", is_flag=True, help="INPUTs are files of -o: print their scores, and the scores over all of them.")
@path_option(
    "--cache", default="", metavar="FOLDER", help="Folder for statistics of features. Default: fsv2v/statistics in the user's cache."
)
@device_option
@common_options
def evaluate(
    inputs: Inputs,
    references: tuple[str, ...],
    driving: str,
    metrics: tuple[str, ...],
    example: str,
    landmarks: str,
    html: Path | None,
    merge: bool,
    cache: str,
    device: str,
    run: Run,
) -> None:
    """Measure each INPUT, a result of synthesize, against its reference.

    INPUT and R are clips, videos, folders of images or images of equal length. Each figure is printed with those of two baselines: the
    repeated example image, and the example image warped along the reference's optical flow. The floor is the figure of the reference
    itself, for metrics that do not score it as perfect. A larger reference is scaled down to the result's size.

    Metrics of distributions compare all results of a folder with all their references, unless several of them have the same reference; then
    each result is compared separately. Many results can be distributed over processes (--jobs), over a Ray cluster (--engine ray), or over
    machines without a shared folder: --shard 0/4 -o 0.npz and so on, then --merge *.npz.
    """
    from stages.evaluate import EvaluateOptions
    from stages.io.files import hidden_file, require_marker

    options = EvaluateOptions(metrics, driving, example, landmarks, device, cache)
    parallel = run.jobs > 1 or run.engine == "ray" or run.address is not None
    if merge and (references or parallel or metrics or driving or example or run.out or run.shard[1] > 1):
        raise click.UsageError("--merge reads earlier results: only --html and --json can be used with it")
    if not merge and not references:
        raise click.UsageError("Missing option '--reference' / '-r'.")
    if run.shard[1] > 1 and run.out is None:
        raise click.UsageError("A shard needs a file for its part of the statistics: add -o PART.npz, and --merge the parts")
    if run.out is not None:
        require_marker(run.out, b"header.npy", "part of an evaluation")
    if html is not None:
        require_marker(html, b"<title>fsv2v evaluate</title>", "page of an evaluation")
    for file in filter(None, (run.out, html)):
        with hidden_file(file):
            pass  # fail now if it cannot be written, and not after hours of work
    scores: list[Score] = []
    try:
        with only_data_on_stdout(), events("evaluating", "results" if parallel else "frames") as on_event:
            for row in _scores(list(inputs), references, options, run, merge, parallel, on_event):
                row = replace(row, unavailable=with_hint(row.unavailable))
                scores.append(row)
                if run.json:
                    emit(row.json())
    finally:  # also after an error or Ctrl-C
        _print_scores(scores, run.json)
    if html is not None:
        from stages.evaluate.report import write_report

        write_report(html, scores)


def _print_scores(scores: Sequence[Score], json: bool) -> None:
    """Warn of metrics without a figure. Print the table, unless the scores were printed as JSON."""
    for reason in dict.fromkeys(row.unavailable for row in scores if row.unavailable):
        names = list(dict.fromkeys(row.metric for row in scores if row.unavailable == reason))
        warning(f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} unavailable: {reason}")
    if scores and not json:
        for line in table(scores):
            emit(line)


def _scores(
    inputs: list[str], references: Sequence[str], options: EvaluateOptions, run: Run, merge: bool, parallel: bool, on_event: OnEvent
) -> Iterator[Score]:
    from stages.evaluate import evaluate as compare
    from stages.evaluate import merge_parts
    from stages.evaluate.parallel import evaluate_parallel

    if merge:
        return merge_parts(inputs)
    if parallel:
        return evaluate_parallel(inputs, references, options, on_event, run.shard, run.out, run.jobs, run.engine, run.address)
    return compare(inputs, references, options, on_event, run.shard, run.out)


def table(scores: Sequence[Score]) -> list[str]:
    """Aligned lines: a heading, then a row for each result and metric."""
    return align_columns([COLUMNS, *map(_cells, scores)])


def _cells(score: Score) -> tuple[str, ...]:
    coverage = "-" if score.coverage is None else f"{score.coverage:.0%}"
    note = "unavailable" if score.unavailable else f"{score.clips} clips" if score.clips > 1 else ""
    figures = (_figure(score.baseline), _figure(score.warped), _figure(score.floor), coverage, str(score.frames), note)
    interval = "-" if score.low is None else f"{_figure(score.low)}..{_figure(score.high)}"
    return (score.result, score.metric, _figure(score.value), interval, score.unit or "-", score.better, *figures)


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}" if abs(value) >= 10 else f"{value:.4f}"
