"""How many frames of 256x256 evaluate measures in a second on two cores, whether its memory grows, and what its cache saves.

    python benchmarks/evaluate_speed.py [--frames 300] [--cores 2]

An image that glides, and a darker copy as its result. A short and a long run, so that the start (imports, weights) can be told from the
frames: of the metrics that need no network, then of these and SqueezeNet's distance. Goals: 20 frames per second of the former, in no more
than 1.05 times the memory in the long run; a second run of metrics of distributions, whose statistics the cache knows, in less than a
tenth of the first one's time.
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


def footage(folder: Path, frames: int) -> tuple[Path, Path]:
    """(a video of the gliding portrait, a darker one)."""
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
    parser.add_argument("--frames", type=int, default=300, help="of the long run; the short one has a third")
    parser.add_argument("--cores", type=int, default=2)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        clips = {count: footage(folder, count) for count in (asked.frames // 3, asked.frames)}

        def measured(count: int, metrics: tuple[str, ...], cache: str) -> CommandRun:
            truth, result = clips[count]
            chosen = [part for name in metrics for part in ("--metric", name)]
            command = ("evaluate", result, "-r", truth, *chosen, "--cache", folder / cache, "--device", "cpu", "-q")
            return fsv2v(*command, cores=asked.cores)

        (short, long), (short_network, long_network) = (
            [measured(count, metrics, "unused") for count in clips] for metrics in (METRICS, WITH_NETWORK)
        )
        first, second = (measured(asked.frames, CACHED, "cache").seconds for _ in range(2))
    plain, network = long.seconds - short.seconds, long_network.seconds - short_network.seconds
    frames = asked.frames - asked.frames // 3
    start, rate, with_network = asked.frames / long.seconds, frames / plain, frames / network
    growth = long.peak / short.peak
    rows: list[dict[str, float | str]] = [
        {"what": "with its start", "seconds": long.seconds, "frames/s": start, "ratio": 1.0, "MiB": long.peak},
        {"what": "with its start, a third", "seconds": short.seconds, "MiB": short.peak},
        {"what": "steady", "seconds": plain, "frames/s": rate, "ratio": rate / start},
        {"what": "steady, with SqueezeNet", "seconds": network, "frames/s": with_network, "ratio": with_network / start},
        {"what": "distributions, first run", "seconds": first, "frames/s": asked.frames / first, "ratio": 1.0},
        {"what": "distributions, second run", "seconds": second, "frames/s": asked.frames / second, "ratio": second / first},
    ]
    goals = {
        f"frames per second on {asked.cores} cores": (rate, RATE_GOAL, rate >= RATE_GOAL),
        f"memory at {asked.frames} of {asked.frames // 3}": (growth, MEMORY_GOAL, growth <= MEMORY_GOAL),
        "second run of the first (at most)": (second / first, CACHE_GOAL, second / first <= CACHE_GOAL),
    }
    report("evaluate_speed", rows, goals)


if __name__ == "__main__":
    main()
