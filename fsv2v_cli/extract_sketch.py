"""fsv2v extract-sketch: face landmarks and sketches from videos."""

from __future__ import annotations

from typing import Literal

import click

from fsv2v_cli.options import Inputs, Run, backend_option, clip_stage_options, command, device_option, inputs_argument
from fsv2v_cli.reports import run_over_clips
from fsv2v_cli.subjects import subject_option


@command("extract-sketch")
@inputs_argument
@backend_option("landmarks", "Landmark detector; auto: mediapipe if its weights are available, else dlib.")
@click.option(
    "--background", type=click.Choice(["canny", "none"]), default="canny", show_default=True, help="Edges drawn outside the face."
)
@subject_option("face")
@click.option(
    "--smoothing", type=click.FloatRange(0), default=1.0, show_default=True, help="Lag-free smoothing; 1: over about 40 ms, 0: none."
)
@device_option
@clip_stage_options
def extract_sketch(
    inputs: Inputs, backend: str, background: Literal["canny", "none"], face: str | int, smoothing: float, device: str, run: Run
) -> int:
    """Find the face in each INPUT and write the layers `landmarks` and `sketch`.

    INPUT is a video, an image, a folder of images or a clip, or - for paths on stdin. The path of each finished clip is printed.
    """
    from stages.extract_sketch import SketchOptions

    options = SketchOptions(backend=backend, background=background, face=face, smoothing=smoothing, device=device)
    return run_over_clips("stages.extract_sketch:extract", inputs, options, run, "sketch")
