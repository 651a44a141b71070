"""fsv2v extract-poses: body poses from videos."""

from __future__ import annotations

import click

from fsv2v_cli.options import Inputs, Run, backend_option, clip_stage_options, command, device_option, inputs_argument
from fsv2v_cli.reports import run_over_clips
from fsv2v_cli.subjects import subject_option


@command("extract-poses")
@inputs_argument
@backend_option("poses", "Pose estimator.")
@subject_option("person")
@click.option(
    "--smoothing", type=click.FloatRange(0), default=1.0, show_default=True, help="Lag-free smoothing; 1: over about 40 ms, 0: none."
)
@click.option(
    "--drop",
    type=click.Choice(["static", "small", "truncated", "overlapping"]),
    multiple=True,
    help="Leave out people, frame by frame, who stand still, are small, lack head or feet, or overlap with others. May be repeated.",
)
@device_option
@clip_stage_options
def extract_poses(inputs: Inputs, backend: str, person: str | int, smoothing: float, drop: tuple[str, ...], device: str, run: Run) -> int:
    """Find the person in each INPUT and write the layer `poses` (BODY_25 keypoints).

    INPUT is a video, an image, a folder of images or a clip, or - for paths on stdin. The path of each finished clip is printed.
    """
    from stages.extract_poses import PoseOptions

    options = PoseOptions(backend=backend, person=person, smoothing=smoothing, drop=drop, device=device)
    return run_over_clips("stages.extract_poses:extract", inputs, options, run, "poses")
