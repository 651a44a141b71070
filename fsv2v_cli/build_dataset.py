"""fsv2v build-dataset: a training set from clips of many people."""

from __future__ import annotations

import click

from fsv2v_cli import console
from fsv2v_cli.options import Inputs, Run, command, common_options, inputs_argument, out_option, overwrite_option


@command("build-dataset")
@inputs_argument
@out_option("The folder of the dataset.", required=True)
@click.option("--size", type=click.IntRange(32, 2048), default=256, show_default=True, help="Side of the square head crops, in pixels.")
@click.option("--min-frames", type=click.IntRange(1), default=16, show_default=True, help="Shorter runs with a face are dropped.")
@click.option(
    "--store", type=click.Choice(["copy", "pack", "reference"]), default="copy", show_default=True,
    help="Cropped frames as JPEG, the same in one zip per clip, or only a reference to the clip with its crops.",
)  # fmt: skip
@click.option("--subjects", metavar="FILE.tsv", help="Lines of CLIP, a tab, SUBJECT. A clip that is not listed is its own subject.")
@click.option("--hold-out", multiple=True, metavar="SUBJECT", help="A subject for validation; repeat it. Default: by --val-share.")
@click.option("--val-share", type=click.FloatRange(0, 0.9), default=0.1, show_default=True, help="Share of subjects for validation.")
@overwrite_option
@common_options
def build_dataset(
    inputs: Inputs, size: int, min_frames: int, store: str, subjects: str | None, hold_out: tuple[str, ...], val_share: float, run: Run
) -> int:
    """Crop each INPUT (a clip with landmarks, or - for paths on stdin) to the head and add it to a dataset, split by subject.

    Frames without a face are dropped, shots become clips of their own. The path of each clip of the dataset is printed.
    """
    from stages.build_dataset import DatasetOptions, build, read_subjects
    from stages.runner import exit_code

    options = DatasetOptions(size, min_frames, store, val_share, hold_out)  # type: ignore[arg-type]
    failures = []
    assert run.out is not None
    with console.progress("dataset", inputs.total, "clips") as bar:
        for report in build(inputs, run.out, options, subjects=read_subjects(subjects), overwrite=run.overwrite):
            console.tell(report, run.json)
            bar.advance()
            failures += [report.exit_code] if report.status == "failed" else []
    return exit_code(failures)
