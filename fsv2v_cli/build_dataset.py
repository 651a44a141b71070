"""fsv2v build-dataset: a training set from clips of many people or streets."""

from __future__ import annotations

import click

from fsv2v_cli import console
from fsv2v_cli.options import Inputs, Run, command, common_options, inputs_argument, out_option, overwrite_option, path_option
from fsv2v_cli.reports import print_report
from fsv2v_cli.sizes import Sides, Size


@command("build-dataset")
@inputs_argument
@out_option("The folder of the dataset.", required=True)
@click.option(
    "--kind", metavar="LAYER", default="auto", show_default=True,
    help="The driving layer: landmarks of faces, poses of bodies, segment of streets, or the layer of another package's driving kind. "
    "auto: that of an existing dataset in PATH, else the first of these that the first clip has. A clip without the layer is refused.",
)  # fmt: skip
@click.option(
    "--size", type=Size("256 or 256x128", range(32, 2049), squares=True), metavar="N|HxW",
    help="Height and width of the crops in pixels, or the side of squares. Default: faces 256, bodies 256x128, streets 192x256.",
)  # fmt: skip
@click.option(
    "--min-frames",
    type=click.IntRange(1),
    default=16,
    show_default=True,
    help="Smallest length of a run of frames without a cut; shorter ones are left out.",
)
@click.option(
    "--store", type=click.Choice(["copy", "pack", "reference"]), default="copy", show_default=True,
    help="copy: cropped frames as JPEG; pack: the same in one zip per clip; reference: only the crops, with a reference to the clip.",
)  # fmt: skip
@path_option(
    "--subjects", metavar="FILE.tsv",
    help="Lines of CLIP, a tab, SUBJECT. CLIP is a path, or a part of one such as film-02. A clip that is not listed is its own subject, "
    "unless the dataset already has a subject for it.",
)  # fmt: skip
@click.option(
    "--hold-out",
    multiple=True,
    metavar="SUBJECT",
    help="A subject for validation; may be repeated. Default: random subjects, see --val-share.",
)
@click.option("--val-share", type=click.FloatRange(0, 0.9), default=0.1, show_default=True, help="Share of subjects for validation.")
@overwrite_option
@common_options
def build_dataset(
    inputs: Inputs, kind: str, size: Sides | None, min_frames: int, store: str, subjects: str | None, hold_out: tuple[str, ...],
    val_share: float, run: Run,
) -> int:  # fmt: skip
    """Crop each INPUT (a clip, or - for paths on stdin) and add it to a dataset, split by subject.

    Clips with landmarks are cropped to the head, those with poses to the body of the person who is visible in most frames, and those with
    label maps around their centre. Frames without a face or person are left out, and each shot becomes a clip. The path of each clip of the
    dataset is printed.
    """
    from stages.build_dataset import DatasetOptions, build, read_subjects
    from stages.runner import exit_code

    options = DatasetOptions(size, min_frames, store, val_share, hold_out, kind=kind)  # type: ignore[arg-type]
    failures = []
    assert run.out is not None
    with console.progress("dataset", inputs.total, "clips") as bar:
        for report in build(inputs, run.out, options, subjects=read_subjects(subjects), overwrite=run.overwrite):
            print_report(report, run.json)
            bar.advance()
            failures += [report.exit_code] if report.status == "failed" else []
    return exit_code(failures)
