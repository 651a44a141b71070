"""Frames per second of `synthesize` with the shipped face model (or MODEL) at 256x256 on two cores. Goal: at least 3.

    python benchmarks/synthesize_speed.py [--model MODEL] [--example PICTURE] [--driving CLIP] [--cores 2] [--against OTHER]

The command runs once with the driving clip and once with the clip repeated three times, which separates the time of the start (imports,
weights, the examples) from the time per frame. The steady rate is the difference of their frames over the difference of their times. The
long run, including its start, is the baseline of the ratios. It runs once more while a process of lower priority keeps each core busy.
With `--against` another model does the same runs, alternating with the first; the goal for the ratio of the two steady rates is 0.9.

The steady rate at the model's size is also compared with that of the network alone, without drawing and writing; the goal is 0.9. These
runs alternate and each is repeated; the fastest counts, because the speed of a shared machine changes from minute to minute.

The steady rates of results of 512 pixels and of results in a photograph of 1920x1080 pixels are compared with the steady rate at the
model's size; their goals are 0.5 and 0.35.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import skimage.data
from measuring import fsv2v, keep_busy, python, report
from PIL import Image

from stages.clip import Producer, create_clip, open_clip

GOAL = 3.0
NETWORK_GOAL = 0.9
"""Goal for the rate relative to that of the network alone."""
TIME_NETWORK = """
import sys, time
from fsv2v_cli.main import _limit_openmp_spinning

_limit_openmp_spinning()
import torch
import fsv2v.synthesis
from fsv2v.reporting import Reporter
from fsv2v.sources import temporary_clips
from stages.conditions.framing import frame_of
from stages.synthesize.fitting import decide
from stages.synthesize.options import SynthesizeOptions
from stages.synthesize.rendering import Rendering

cpu, (example, driving, model) = torch.device("cpu"), sys.argv[1:]
with temporary_clips(Reporter()) as temporary:
    ready = fsv2v.synthesis.prepare(example, driving, temporary, model=model or None)
    fitting = decide("auto", ready.model.config.kind, ready.examples, ready.driving)
    rendering = Rendering(ready.examples, ready.driving, ready.model, SynthesizeOptions(device="cpu"), fitting)
    renderer, frames = rendering.renderer, [frame_of([frame.sample], cpu) for frame in rendering.driving.driving_frames()]
    code = renderer.encode_examples(frame_of([example.sample for example in rendering.examples], cpu).map(lambda x: x[None]))
    past, begun = None, 0.0
    for index, frame in enumerate(frames):
        if index == len(frames) // 3:
            begun = time.perf_counter()
        _, past = renderer.step(code, frame, past)
print((len(frames) - len(frames) // 3) / (time.perf_counter() - begun))
"""
"""Prints the frames per second of the last two thirds of a driving clip."""
REPEATS = 2
"""Number of repetitions; the fastest one counts."""
AGAINST_GOAL = 0.9
"""Goal for the rate relative to that of the model given by `--against`."""
EXAMPLES = Path(__file__).parents[1] / "examples"


def repeat_clip(driving: Path, times: int, out: Path, frames: int | None = None) -> int:
    """Write a clip with the landmarks of `driving`, or of its first `frames`, repeated `times` times. Returns its number of frames."""
    clip = open_clip(driving)
    points = np.concatenate([clip.layer("landmarks").arrays()["points"][:frames]] * times)
    longer = create_clip(out, width=clip.width, height=clip.height, num_frames=len(points), fps=clip.fps)
    with longer.writing("landmarks", Producer(stage="benchmark"), inputs={}) as layer:
        layer.arrays(points=points)
    return len(points)


def widen(image: np.ndarray) -> np.ndarray:
    """The upper part of an image, enlarged and padded at the sides with its mirror image to 1920x1080."""
    height = round(1080 * 1.5)
    large = np.array(Image.fromarray(image).resize((round(height * image.shape[1] / image.shape[0]), height), Image.Resampling.LANCZOS))
    padding = max(0, 1920 - large.shape[1])
    return np.pad(large[:1080], ((0, 0), (padding // 2, padding - padding // 2), (0, 0)), mode="symmetric")[:, :1920]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--example", type=Path)
    parser.add_argument("--driving", type=Path, default=EXAMPLES / "driving.clip")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--against", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        example = arguments.example or folder / "astronaut.png"
        if not arguments.example:
            Image.fromarray(skimage.data.astronaut()).save(example)

        photograph = folder / "photograph.png"
        Image.fromarray(widen(np.array(Image.open(example).convert("RGB")))).save(photograph)

        def seconds_of(times: int, model: Path | None, *options: object) -> float:
            command = ("synthesize", "--driving", folder / f"{times}.clip", "-o", folder / f"{times}.mp4", "-q")
            model_option = ("--model", model) if model else ()
            examples = options or ("--examples", example, "--size", "model")
            return fsv2v(*command, *examples, *model_option, "--device", "cpu", "--overwrite", cores=arguments.cores).seconds

        def steady_rate(*options: object) -> float:
            return (frames[1] - frames[0]) / (seconds_of(3, arguments.model, *options) - seconds_of(1, arguments.model, *options))

        frames = [repeat_clip(arguments.driving, times, folder / f"{times}.clip") for times in (1, 3)]
        models = [arguments.model, *([arguments.against] if arguments.against else [])]
        runs, rates = [], []
        for _ in range(REPEATS):
            runs.append([[seconds_of(times, model) for times in (1, 3)] for model in models])
            network = python(TIME_NETWORK, example, folder / "3.clip", arguments.model or "", cores=arguments.cores)
            rates.append(float(network.output))
        (seconds, *other_seconds), bare = np.min(runs, 0).tolist(), max(rates)
        larger = {
            "512": (steady_rate("--examples", example, "--size", 512), 0.5),
            "in 1920x1080": (steady_rate("--examples", photograph, "--paste"), 0.35),
        }
        with keep_busy(arguments.cores):
            busy_seconds = seconds_of(3, arguments.model)
    with_start = frames[1] / seconds[1]
    steady, *against = ((frames[1] - frames[0]) / (long - short) for short, long in (seconds, *other_seconds))
    rows: list[dict[str, float | str]] = [
        {"what": "including start", "frames": frames[1], "seconds": seconds[1], "frames/s": with_start, "ratio": 1.0},
        {
            "what": "steady",
            "frames": frames[1] - frames[0],
            "seconds": seconds[1] - seconds[0],
            "frames/s": steady,
            "ratio": steady / with_start,
        },
        {
            "what": "including start, on busy cores",
            "frames": frames[1],
            "seconds": busy_seconds,
            "frames/s": frames[1] / busy_seconds,
            "ratio": seconds[1] / busy_seconds,
        },
    ]
    goals = {f"frames per second on {arguments.cores} cores": (steady, GOAL, steady >= GOAL)}
    rows.append({"what": "the network alone", "frames/s": bare, "ratio": bare / with_start})
    goals["frames per second relative to the network alone"] = (steady / bare, NETWORK_GOAL, steady / bare >= NETWORK_GOAL)
    for name, (per_second, goal) in larger.items():
        rows.append({"what": f"steady, {name}", "frames/s": per_second, "ratio": per_second / with_start})
        goals[f"frames per second, {name}, relative to the model's size"] = (per_second / steady, goal, per_second / steady >= goal)
    for other in against:
        rows.append({"what": f"steady, {arguments.against}", "frames/s": other, "ratio": other / with_start})
        goals[f"frames per second relative to {arguments.against}"] = (steady / other, AGAINST_GOAL, steady / other >= AGAINST_GOAL)
    report("synthesize_speed", rows, goals)


if __name__ == "__main__":
    main()
