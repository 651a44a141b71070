"""How much extract-sketch costs beyond its detector, and what a second process brings.

    python benchmarks/extract_speed.py VIDEO [--backend mediapipe] [--frames 300] [--clips 8]

The baseline of the first ratio is the bare backend, called in a loop on frames that were decoded before; goal: extract-sketch, which also
decodes, smooths, draws and writes, at 0.9 of that speed or more. The baseline of the second is --jobs 1; goal: --jobs 2 is 1.7 times as
fast on two cores, start of the command included. All is measured in one run; the bare loop is timed before and after the stage, and the
faster one counts.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from itertools import islice
from pathlib import Path

from measuring import fsv2v, loop_video, report

from stages.backends import Backends
from stages.clip import as_clip, read_frames
from stages.extract_sketch import SketchOptions, extract

GOAL_OF_BARE, GOAL_OF_JOBS = 0.9, 1.7


def bare(video: Path, backend: str, frames: int) -> float:
    """Seconds that the backend takes, opening included."""
    decoded = list(islice(read_frames(video), frames))
    begun = time.perf_counter()
    detect = Backends("landmarks").require(backend).open("cpu")
    for frame in decoded:
        detect(frame)
    return time.perf_counter() - begun


def extraction(video: Path, backend: str, folder: Path) -> float:
    """Seconds that the stage takes, in this process, from the video to the finished layers."""
    begun = time.perf_counter()
    extract(as_clip(video, out=folder), SketchOptions(backend=backend, device="cpu"))
    return time.perf_counter() - begun


def with_jobs(videos: list[Path], backend: str, folder: Path, jobs: int) -> float:
    """Seconds that the command takes for all videos, start included."""
    return fsv2v("extract-sketch", *videos, "-o", folder, "--backend", backend, "--jobs", str(jobs), "-q").seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path)
    parser.add_argument("--backend", default="mediapipe")
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--clips", type=int, default=8)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        videos = [loop_video(asked.video, asked.frames + index, folder / f"{index}.mp4") for index in range(asked.clips)]
        bare(videos[0], asked.backend, 5)  # imports what both will use
        first = bare(videos[0], asked.backend, asked.frames)
        stage = extraction(videos[0], asked.backend, folder / "stage")
        alone = min(first, bare(videos[0], asked.backend, asked.frames))
        one = with_jobs(videos, asked.backend, folder / "one", 1)
        two = with_jobs(videos, asked.backend, folder / "two", 2)
    total = sum(asked.frames + index for index in range(asked.clips))
    rows: list[dict[str, float | str]] = [
        {"what": f"bare {asked.backend}", "frames": asked.frames, "seconds": alone, "frames/s": asked.frames / alone, "ratio": 1.0},
        {"what": "extract-sketch", "frames": asked.frames, "seconds": stage, "frames/s": asked.frames / stage, "ratio": alone / stage},
        {"what": "--jobs 1", "frames": total, "seconds": one, "frames/s": total / one, "ratio": 1.0},
        {"what": "--jobs 2", "frames": total, "seconds": two, "frames/s": total / two, "ratio": one / two},
    ]
    verdicts = {
        "extract-sketch of the bare backend": (alone / stage, GOAL_OF_BARE, alone / stage >= GOAL_OF_BARE),
        "--jobs 2 of --jobs 1": (one / two, GOAL_OF_JOBS, one / two >= GOAL_OF_JOBS),
    }
    report("extract_speed", rows, verdicts)


if __name__ == "__main__":
    main()
