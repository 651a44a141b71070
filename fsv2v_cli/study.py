"""fsv2v evaluate study and fsv2v evaluate score: which of two methods people prefer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from fsv2v_cli.console import align_columns, emit, events, note, warning
from fsv2v_cli.options import PATH, Inputs, Run, command, common_options, inputs_argument, out_option, overwrite_option, path_option

if TYPE_CHECKING:
    from stages.evaluate.study import Preference, Scores, Worker


@command("study")
@click.argument("first", type=PATH, metavar="A")
@click.argument("second", type=PATH, metavar="B")
@out_option("The folder of the web page.", required=True)
@path_option(
    "--key", metavar="FILE",
    help="The file for the key, which tells which method made which video. It must be outside of the page's folder. Default: OUT.key.json.",
)  # fmt: skip
@path_option(
    "--reference", default="", metavar="R", help="A folder with the true or driving videos. Each is shown above the two videos to compare."
)
@click.option(
    "--question", default="", metavar="TEXT",
    help="The question. Default: which one looks more like a video captured by a real camera, as in vid2vid.",
)  # fmt: skip
@click.option(
    "--catch", type=click.IntRange(0), default=3, show_default=True,
    help="Number of catch questions for each worker: they show a video and a broken copy of it.",
)  # fmt: skip
@click.option(
    "--per-worker", type=click.IntRange(0), default=0, show_default=True,
    help="Approximate number of clips for each worker; 0: all.",
)  # fmt: skip
@click.option(
    "--post", default="", metavar="URL", help="Address that receives the answers. Default: none; the page offers them for download."
)
@click.option(
    "--code", default="", metavar="TEXT", help="The completion code shown to all workers. Default: a different one for each worker."
)
@overwrite_option
@common_options
def study(
    first: str, second: str, key: str | None, reference: str, question: str, catch: int, per_worker: int, post: str, code: str, run: Run
) -> None:  # fmt: skip
    """Make a web page that asks people which of two methods' videos they prefer.

    A and B are folders of videos, clips or folders of images. Both must contain the same names, and two videos of one name must have the
    same length, frame rate and aspect ratio. The order of questions and of the two videos is random. The page's address may contain the
    worker's name (?worker=NAME). Nothing in the page's folder reveals the methods, and it works from any web server or from the disk. Its
    path is printed.
    """
    from stages.evaluate.study import StudyOptions, make_study

    options = StudyOptions(question, catch, per_worker, post, code)
    assert run.out is not None
    key_path = Path(key) if key else None
    with events("study", "videos") as on_event:
        outcome = make_study((first, second), reference, run.out, options, key=key_path, overwrite=run.overwrite, on_event=on_event)
    record = {
        "clip": str(run.out),
        "layer": "study",
        "status": outcome.status,
        "frames": outcome.frames,
        "seconds": round(outcome.seconds, 3),
    }
    counts = {"pairs": outcome.pairs, "catch": outcome.catch, "blocks": outcome.blocks}
    emit({**record, "key": str(outcome.key), **counts, "reason": ""} if run.json else run.out)
    note(f"Keep {outcome.key} out of the page's folder; `fsv2v evaluate score` needs it.")


@command("score")
@inputs_argument
@path_option(
    "--key",
    metavar="FILE",
    help="The key of the study. Default: a *.key.json in the current folder, the folder of the answers or its parent.",
)
@click.option(
    "--max-failed", type=click.FloatRange(0, 1), default=0.25, show_default=True,
    help="Leave out workers who fail more than this share of their catch questions.",
)  # fmt: skip
@common_options
def score(inputs: Inputs, key: str | None, max_failed: float, run: Run) -> None:
    """Print which method people prefer. Each INPUT is the file with the answers of one worker of a study.

    The rate is over the answers of all workers who are not left out. It has Wilson's 95 % interval, which treats answers as independent,
    and a bootstrap interval over workers, which does not. A second table lists the workers, with the share of clips on which they agree
    with the majority of the others, the catch questions that they failed, the share of answers for video 1 and the median time of an
    answer.
    """
    from stages.evaluate.study import score_answers

    scores, repeated = score_answers([Path(path) for path in inputs], Path(key) if key else None, max_failed)
    for file in repeated:
        warning(f"{file} repeats another file's answers and is not counted")
    for worker in scores.workers:
        if worker.left_out:
            warning(f"worker {worker.worker} is left out: {worker.failed} of {worker.catch} catch questions failed")
    for line in scores.json() if run.json else tables(scores):
        emit(line)


def tables(scores: Scores) -> list[str]:
    """Aligned lines: the preferences over all clips and for each clip, then the workers."""
    preferences = map(_preference, (*scores.preferences, *scores.clips))
    rows = [("method", "preferred to", "clip", "rate", "95 % interval", "over workers", "answers", "workers"), *preferences]
    heading = ("worker", "counts", "answers", "agreement", "catch failed", "video 1", "seconds", "code", "file")
    return [*align_columns(rows), "", *align_columns([heading, *map(_worker, scores.workers)])]


def _preference(row: Preference) -> tuple[str, ...]:
    workers_interval = _interval(row.low_workers, row.high_workers)
    counts = f"{row.preferred}/{row.answers}", str(row.workers)
    return row.method, row.other, row.clip or "all", f"{row.rate:.3f}", _interval(row.low, row.high), workers_interval, *counts


def _interval(low: float | None, high: float | None) -> str:
    return "-" if low is None or high is None else f"{low:.3f} to {high:.3f}"


def _worker(row: Worker) -> tuple[str, ...]:
    agreement = "-" if row.agreement is None else f"{row.agreement:.0%} of {row.compared}"
    counts = "no" if row.left_out else "yes"
    failed = f"{row.failed} of {row.catch}"
    return row.worker, counts, str(row.answers), agreement, failed, f"{row.left:.0%}", f"{row.seconds:.1f}", row.code, row.file
