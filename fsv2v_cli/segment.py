"""fsv2v segment: label maps and person masks."""

from __future__ import annotations

import click

from fsv2v_cli.console import run_over_clips
from fsv2v_cli.options import Inputs, Run, backend_option, clip_stage, command, device_option, inputs_argument


@command("segment")
@inputs_argument
@backend_option("segment", "person: a mask of the person; labels: import --labels. auto: labels if given, else person.")
@click.option("--labels", metavar="PATH", help="Label maps to import: a folder with one picture per frame.")
@click.option("--table", default="camvid", show_default=True, metavar="NAME", help="What the ids of --labels mean.")
@device_option
@clip_stage
def segment(inputs: Inputs, backend: str, labels: str | None, table: str, device: str, run: Run) -> int:
    """Label the pixels of each INPUT and write the layer `segment` (label ids) or `mask` (the person).

    INPUT is a video, a picture, a folder of pictures or a clip, or - for paths on stdin. The path of each finished clip is printed.
    """
    from stages.segment import SegmentOptions

    options = SegmentOptions(backend=backend, labels=labels, table=table, device=device)
    return run_over_clips("stages.segment:extract", inputs, options, run, "segment")
