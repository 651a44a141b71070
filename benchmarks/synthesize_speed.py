"""How many frames per second synthesize makes with the shipped face model (or MODEL) at 256x256 on two cores. Goal: 3 or more.

    python benchmarks/synthesize_speed.py [--model MODEL] [--example PICTURE] [--driving CLIP] [--cores 2] [--against OTHER]

The driving clip is run once as it is and once three times as long, so that the start (imports, weights, the examples) can be told from
the frames: the baseline of the ratio is the long run with its start, the steady rate is the difference of the two runs. Then the long run
once more while another process of lower priority keeps each core busy. With `--against` the same runs are made with another model file,
turn by turn with the first, and the ratio of the two steady rates is printed; its goal is 0.9.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import skimage.data
from measuring import busy, fsv2v, report
from PIL import Image

from stages.clip import Producer, create_clip, open_clip

GOAL = 3.0
MIN_RATIO = 0.9
"""Of the frames per second of the model that `--against` names."""
EXAMPLES = Path(__file__).parents[1] / "examples"


def repeated(driving: Path, times: int, out: Path) -> int:
    """A clip of `driving`'s landmarks, `times` as long; its number of frames."""
    clip = open_clip(driving)
    points = np.concatenate([clip.layer("landmarks").arrays()["points"]] * times)
    longer = create_clip(out, width=clip.width, height=clip.height, num_frames=len(points), fps=clip.fps)
    with longer.writing("landmarks", Producer(stage="benchmark"), inputs={}) as layer:
        layer.arrays(points=points)
    return len(points)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--example", type=Path)
    parser.add_argument("--driving", type=Path, default=EXAMPLES / "driving.clip")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--against", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        example = asked.example or folder / "astronaut.png"
        if not asked.example:
            Image.fromarray(skimage.data.astronaut()).save(example)

        def seconds_of(times: int, model: Path | None) -> float:
            request = (
                "synthesize",
                "--examples",
                example,
                "--driving",
                folder / f"{times}.clip",
                "-o",
                folder / f"{times}.mp4",
                "--size",
                "model",
                "-q",
            )
            chosen = ("--model", model) if model else ()
            return fsv2v(*request, *chosen, "--device", "cpu", "--overwrite", cores=asked.cores).seconds

        frames = [repeated(asked.driving, times, folder / f"{times}.clip") for times in (1, 3)]
        models = [asked.model, *([asked.against] if asked.against else [])]
        measured = [[seconds_of(times, model) for model in models] for times in (1, 3)]
        seconds, *others = zip(*measured, strict=True)
        with busy(asked.cores):
            crowded = seconds_of(3, asked.model)
    with_start = frames[1] / seconds[1]
    steady, *against = ((frames[1] - frames[0]) / (long - short) for short, long in (seconds, *others))
    rows: list[dict[str, float | str]] = [
        {"what": "with its start", "frames": frames[1], "seconds": seconds[1], "frames/s": with_start, "ratio": 1.0},
        {
            "what": "steady",
            "frames": frames[1] - frames[0],
            "seconds": seconds[1] - seconds[0],
            "frames/s": steady,
            "ratio": steady / with_start,
        },
        {
            "what": "with its start, on busy cores",
            "frames": frames[1],
            "seconds": crowded,
            "frames/s": frames[1] / crowded,
            "ratio": seconds[1] / crowded,
        },
    ]
    goals = {f"frames per second on {asked.cores} cores": (steady, GOAL, steady >= GOAL)}
    for other in against:
        rows.append({"what": f"steady, {asked.against}", "frames/s": other, "ratio": other / with_start})
        goals[f"of the frames per second of {asked.against}"] = (steady / other, MIN_RATIO, steady / other >= MIN_RATIO)
    report("synthesize_speed", rows, goals)


if __name__ == "__main__":
    main()
