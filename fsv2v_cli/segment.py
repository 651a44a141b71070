"""fsv2v segment: label maps and person masks."""

from __future__ import annotations

import click

from fsv2v_cli.options import Inputs, Run, backend_option, clip_stage_options, command, device_option, inputs_argument, path_option
from fsv2v_cli.reports import run_over_clips


@command("segment")
@inputs_argument
@backend_option(
    "segment",
    "Segmentation backend. person: masks of people; labels: the label maps of --labels. auto: labels if --labels is given, else street.",
)
@path_option("--model", metavar="NAME", help="A checkpoint of --backend segformer: a name on the hub, or a folder.")
@path_option("--labels", metavar="PATH", help="Label maps to import: a folder with one image per frame.")
@click.option("--table", default="camvid", show_default=True, metavar="NAME", help="The label table of --labels.")
@click.option("--map", "edits", multiple=True, metavar="LABEL=LABEL", help="Turn one label into another: tree=building. May be repeated.")
@click.option(
    "--smoothing", type=click.FloatRange(0), default=1.0, show_default=True,
    help="Temporal smoothing along the optical flow, to reduce flicker; 0: none, 1: the previous frame has a weight of 0.6.",
)  # fmt: skip
@device_option
@clip_stage_options
def segment(
    inputs: Inputs, backend: str, model: str | None, labels: str | None, table: str, edits: tuple[str, ...], smoothing: float,
    device: str, run: Run,
) -> int:  # fmt: skip
    """Label the pixels of each INPUT and write the layer `segment` (label ids). The backend person also writes the layer `mask`.

    INPUT is a video, an image, a folder of images or a clip, or - for paths on stdin. The path of each finished clip is printed.
    """
    from stages.segment import SegmentOptions

    options = SegmentOptions(
        backend=backend, model=model, labels=labels, table=table, edits=edits, smoothing=smoothing, device=device
    )  # fmt: skip
    return run_over_clips("stages.segment:extract", inputs, options, run, "segment")
