"""fsv2v evaluate: figures of merit of results, beside what repeating the example picture would score."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fsv2v_cli.console import aligned, emit, events, only_data_on_stdout, warning
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
    help="What the results should look like: one for all, one for each (repeat the option), or a folder with one of each name. "
    "Required, but for --merge.",
)
@path_option(
    "--driving",
    default="",
    metavar="D",
    help="What the results follow: landmarks, poses or label maps. Default: what synthesize kept in the result; else, of landmarks, "
    "those of the reference.",
)
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="NAME",
    help="Of frames: psnr, ssim, ms-ssim, lpips, perceptual, landmark-error, pose-error, pose-error-pixels, segment-miou, "
    "pixel-accuracy, identity, warping-error, flicker; when they are named, iris-error and expression. Of distributions: fid, kid, "
    "fid-squeezenet, kid-squeezenet, fvd, video-fid-i3d, "
    "video-fid-resnext, fvd-squeezenet. Repeat the option for several. Default: all that can run here for this kind of driving.",
)
@path_option(
    "--example", default="", metavar="PICTURE", help="What the baselines show. Default: the reference's first frame, not scored then."
)
@click.option(
    "--landmarks", default="auto", show_default=True, metavar="BACKEND", help="Detector of landmark-error, as for extract-sketch."
)
@click.option(
    "--html",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    metavar="FILE",
    help="Write a page, too, that holds all: tables, curves over time, the videos side by side with maps of their errors. An older "
    "page there is replaced.",
)
@jobs_option
@shard_option
@engine_option
@address_option
@out_option("Keep the scores and the statistics of features in a file that --merge reads.", metavar="PART.npz")
@click.option("--merge", is_flag=True, help="INPUTs are files of -o: print their scores and what all of them together score.")
@path_option(
    "--cache", default="", metavar="FOLDER", help="Where statistics of features are kept. Default: fsv2v/statistics in the user's cache."
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

    INPUT and R are clips, videos, folders of pictures or pictures of equal length. Each figure stands beside two baselines (the
    example picture, repeated, and warped along the reference's optical flow) and, where the reference itself is not perfect, beside its
    floor. A larger reference is shrunk to the result's size.

    Metrics of distributions compare all results of a folder with all their references; results of one reference are compared each for
    itself. Many results can be spread over processes (--jobs), over a Ray cluster (--engine ray), or over machines that share nothing:
    --shard 0/4 -o 0.npz and so on, then --merge *.npz.
    """
    from stages.evaluate import EvaluateOptions
    from stages.files import hidden_file, require_own

    options = EvaluateOptions(metrics, driving, example, landmarks, device, cache)
    spread = run.jobs > 1 or run.engine == "ray" or run.address is not None
    if merge and (references or spread or metrics or driving or example or run.out or run.shard[1] > 1):
        raise click.UsageError("--merge reads what was compared before: only --html and --json have a use with it")
    if not merge and not references:
        raise click.UsageError("Missing option '--reference' / '-r'.")
    if run.shard[1] > 1 and run.out is None:
        raise click.UsageError("A shard needs a file for its part of the statistics: add -o PART.npz, and --merge the parts")
    if run.out is not None:
        require_own(run.out, b"header.npy", "part of an evaluation")
    if html is not None:
        require_own(html, b"<title>fsv2v evaluate</title>", "page of an evaluation")
    for file in filter(None, (run.out, html)):
        with hidden_file(file):
            pass  # it can be written: better known now than when all is measured
    scores: list[Score] = []
    try:
        with only_data_on_stdout(), events("evaluating", "results" if spread else "frames") as on_event:
            for row in _scores(list(inputs), references, options, run, merge, spread, on_event):
                scores.append(row)
                if run.json:
                    emit(row.json())
    finally:  # what was measured before an error, or Ctrl-C, is not lost
        _tell(scores, run.json)
    if html is not None:
        from stages.evaluate.report import write_report

        write_report(html, scores)


def _tell(scores: Sequence[Score], json: bool) -> None:
    """The table, unless rows were printed as JSON, and what there is no figure of."""
    for reason in dict.fromkeys(row.unavailable for row in scores if row.unavailable):
        names = list(dict.fromkeys(row.metric for row in scores if row.unavailable == reason))
        warning(f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} unavailable: {reason}")
    if scores and not json:
        for line in table(scores):
            emit(line)


def _scores(
    inputs: list[str], references: Sequence[str], options: EvaluateOptions, run: Run, merge: bool, spread: bool, on_event: OnEvent
) -> Iterator[Score]:
    from stages.evaluate import evaluate as compare
    from stages.evaluate import merge_parts
    from stages.evaluate.parallel import evaluate_parallel

    if merge:
        return merge_parts(inputs)
    if spread:
        return evaluate_parallel(inputs, references, options, on_event, run.shard, run.out, run.jobs, run.engine, run.address)
    return compare(inputs, references, options, on_event, run.shard, run.out)


def table(scores: Sequence[Score]) -> list[str]:
    """Aligned lines, a heading first: one row per result and metric."""
    return aligned([COLUMNS, *map(_cells, scores)])


def _cells(score: Score) -> tuple[str, ...]:
    coverage = "-" if score.coverage is None else f"{score.coverage:.0%}"
    note = "unavailable" if score.unavailable else f"{score.clips} clips" if score.clips > 1 else ""
    figures = (_figure(score.baseline), _figure(score.warped), _figure(score.floor), coverage, str(score.frames), note)
    interval = "-" if score.low is None else f"{_figure(score.low)}..{_figure(score.high)}"
    return (score.result, score.metric, _figure(score.value), interval, score.unit or "-", score.better, *figures)


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}" if abs(value) >= 10 else f"{value:.4f}"
