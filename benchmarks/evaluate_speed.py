"""Speed of `evaluate` on two cores: frames of 256x256 per second, growth of memory, and time saved by the cache.

    python benchmarks/evaluate_speed.py [--frames 300] [--cores 2]

The reference is a video of a moving portrait, and the result a darker copy of it. A short and a long run separate the time of the start
(imports, weights) from the time per frame. Both are done once with the metrics that need no network, and once with SqueezeNet's distance
in addition. Metrics of distributions are measured twice; the second run finds its statistics in the cache.

Goals: 20 frames per second without networks; the long run needs at most 1.05 times the memory of the short one; a second run with the
cache takes at most a tenth of the time of the first.
"""

from __future__ import annotations

import argparse
import tempfile
from fractions import Fraction
from pathlib import Path

import numpy as np
import skimage.data
from measuring import CommandRun, fsv2v, report

from stages.clip import VideoWriter

SIDE = 256
METRICS = ("psnr", "ssim", "ms-ssim", "flicker", "warping-error")
WITH_NETWORK = (*METRICS, "perceptual")
CACHED = ("fid-squeezenet", "kid-squeezenet", "fvd-squeezenet")
RATE_GOAL, MEMORY_GOAL, CACHE_GOAL = 20.0, 1.05, 0.1


def write_videos(folder: Path, frames: int) -> tuple[Path, Path]:
    """(a video of a portrait that moves sideways, a darker copy of it)."""
    paths = folder / f"truth{frames}.mp4", folder / f"result{frames}.mp4"
    image = skimage.data.astronaut()
    with VideoWriter(paths[0], SIDE, SIDE, Fraction(25)) as truth, VideoWriter(paths[1], SIDE, SIDE, Fraction(25)) as result:
        for index in range(frames):
            left = 100 + round(60 * np.sin(index / 20))
            frame = np.ascontiguousarray(image[:SIDE, left : left + SIDE])
            truth.write(frame)
            result.write((frame * 0.9).astype(np.uint8))
    return paths


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=300, help="number of frames of the long run; the short run has a third")
    parser.add_argument("--cores", type=int, default=2)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        videos = {count: write_videos(folder, count) for count in (arguments.frames // 3, arguments.frames)}

        def run(count: int, metrics: tuple[str, ...], cache: str) -> CommandRun:
            truth, result = videos[count]
            chosen = [part for name in metrics for part in ("--metric", name)]
            command = ("evaluate", result, "-r", truth, *chosen, "--cache", folder / cache, "--device", "cpu", "-q")
            return fsv2v(*command, cores=arguments.cores)

        (short, long), (short_network, long_network) = (
            [run(count, metrics, "unused") for count in videos] for metrics in (METRICS, WITH_NETWORK)
        )
        first, second = (run(arguments.frames, CACHED, "cache").seconds for _ in range(2))
    plain, network = long.seconds - short.seconds, long_network.seconds - short_network.seconds
    frames = arguments.frames - arguments.frames // 3
    start, rate, with_network = arguments.frames / long.seconds, frames / plain, frames / network
    growth = long.peak / short.peak
    rows: list[dict[str, float | str]] = [
        {"what": "including start", "seconds": long.seconds, "frames/s": start, "ratio": 1.0, "MiB": long.peak},
        {"what": "including start, a third", "seconds": short.seconds, "MiB": short.peak},
        {"what": "steady", "seconds": plain, "frames/s": rate, "ratio": rate / start},
        {"what": "steady, with SqueezeNet", "seconds": network, "frames/s": with_network, "ratio": with_network / start},
        {"what": "distributions, first run", "seconds": first, "frames/s": arguments.frames / first, "ratio": 1.0},
        {"what": "distributions, second run", "seconds": second, "frames/s": arguments.frames / second, "ratio": second / first},
    ]
    goals = {
        f"frames per second on {arguments.cores} cores": (rate, RATE_GOAL, rate >= RATE_GOAL),
        f"memory at {arguments.frames} frames relative to {arguments.frames // 3}": (growth, MEMORY_GOAL, growth <= MEMORY_GOAL),
        "second run relative to the first (at most)": (second / first, CACHE_GOAL, second / first <= CACHE_GOAL),
    }
    report("evaluate_speed", rows, goals)


if __name__ == "__main__":
    main()
