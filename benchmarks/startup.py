"""How long `synthesize` takes from the command to its first frame, and which parts take this time. Goal: 2.5 seconds or less on two cores.

    python benchmarks/startup.py [--model MODEL] [--example PICTURE] [--driving CLIP] [--cores 2] [--runs 5]

The landmarks of the example and the driving clip are made beforehand. A process takes the steps of the command one after another and prints
when each has ended; the figure of each part is the shortest time of several runs. Processor time counts all threads; it depends less on
what else is running. The last row is the command itself with a driving clip of one frame, until it has ended. Python's bytecode is compiled
beforehand.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

import skimage.data
from measuring import fsv2v, python, report
from PIL import Image
from synthesize_speed import EXAMPLES, repeat_clip

GOAL = 2.5
STEPS = """
import json, os, sys, time
marks = [("Python", time.monotonic(), time.process_time())]
def mark(name):
    marks.append((name, time.monotonic(), time.process_time()))

import fsv2v_cli.main, fsv2v_cli.synthesize
fsv2v_cli.main._limit_openmp_spinning()
mark("the command line")
import torch
mark("PyTorch")
import cv2
mark("OpenCV")
import fsv2v.synthesis
mark("the other modules")

from fsv2v.reporting import Reporter
from fsv2v.sources import temporary_clips
from stages.synthesize.fitting import decide
from stages.synthesize.options import SynthesizeOptions
from stages.synthesize.rendering import Rendering, choose_placement

example, driving, model = sys.argv[1:]
options = SynthesizeOptions()
with temporary_clips(Reporter()) as temporary:
    ready = fsv2v.synthesis.prepare(example, driving, temporary, model=model or None)
    mark("clips opened, model loaded and checked")
    fitting = decide(options.normalize, ready.model.config.kind, ready.examples, ready.driving)
    placement = choose_placement(ready.examples, ready.model, options)
    rendering = Rendering(ready.examples, ready.driving, ready.model, options, fitting, placement=placement)
    mark("examples cropped, network in its fast form")
    next(rendering.frames())
    mark("examples encoded, first frame")
print(json.dumps(marks))
"""


def first_frame(example: Path, driving: Path, model: Path | None, cores: int) -> dict[str, tuple[float, float]]:
    """part -> (wall time, processor time), in seconds."""
    parts, before = {}, (time.monotonic(), 0.0)
    for name, *now in json.loads(python(STEPS, example, driving, model or "", cores=cores).output):
        parts[name] = now[0] - before[0], now[1] - before[1]
        before = now[0], now[1]
    return parts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--example", type=Path)
    parser.add_argument("--driving", type=Path, default=EXAMPLES / "driving.clip")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        example = arguments.example or folder / "astronaut.png"
        if not arguments.example:
            Image.fromarray(skimage.data.astronaut()).save(example)
        fsv2v("extract-sketch", example, "-o", folder / "example.clip", "-q")
        repeat_clip(arguments.driving, 1, folder / "driving.clip", frames=1)
        first_frame(folder / "example.clip", folder / "driving.clip", arguments.model, arguments.cores)  # writes the bytecode
        runs = [
            first_frame(folder / "example.clip", folder / "driving.clip", arguments.model, arguments.cores) for _ in range(arguments.runs)
        ]
        sources = (
            "--examples",
            folder / "example.clip",
            "--driving",
            folder / "driving.clip",
            *(("--model", arguments.model) if arguments.model else ()),
        )
        command = ("synthesize", *sources, "-o", folder / "out.mp4", "-q", "--overwrite")
        whole = min(fsv2v(*command, cores=arguments.cores).seconds for _ in range(arguments.runs))
    least = {name: [min(run[name][clock] for run in runs) for clock in (0, 1)] for name in runs[0]}
    total, processor = (min(sum(part[clock] for part in run.values()) for run in runs) for clock in (0, 1))
    rows: list[dict[str, float | str]] = [
        {"part": name, "seconds": seconds, "seconds of the processor": processor_seconds}
        for name, (seconds, processor_seconds) in least.items()
    ]
    rows.append({"part": "until the first frame, the fastest run", "seconds": total, "seconds of the processor": processor})
    rows.append({"part": "the command with one frame, until its end", "seconds": whole})
    report("startup", rows, {"seconds until the first frame": (total, GOAL, total <= GOAL)})


if __name__ == "__main__":
    main()
