"""Many inputs: Ray relative to local processes, two jobs to one, the time to skip a finished clip, and memory by the number of inputs.

    python benchmarks/many.py VIDEO [--stage extract-sketch] [--backend dlib] [--frames 250] [--clips 50] [--few 200] [--many 2000]

VIDEO should show one face or person; it is looped to videos of about --frames frames. Goals: Ray on this machine takes at most 1.15 times
as long as --jobs 2, including the seconds in which it starts; two jobs are 1.7 times as fast as one on two cores; the main process needs at
most 1.05 times as much memory for --many inputs as for --few. OMP_NUM_THREADS is unset, because users do not set it.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from measuring import loop_video, report

RAY_GOAL, JOBS_GOAL, MEMORY_GOAL = 1.15, 1.7, 1.05
MAIN = """
import atexit, resource, sys
def print_usage():
    own, workers = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = own.ru_utime + own.ru_stime + workers.ru_utime + workers.ru_stime
    print(f"peak {own.ru_maxrss} cpu {cpu}", file=sys.stderr)
atexit.register(print_usage)
from fsv2v_cli.main import main
main()
"""


@dataclass(frozen=True)
class CommandRun:
    """A finished run of a command."""

    seconds: float
    """Wall time, including the start."""
    peak: float
    """Largest resident memory of the main process, without its workers, in MiB."""
    cpu: float
    """CPU seconds of the main process and its workers. Ray's workers are not counted, because they are not its children."""


def fsv2v(*arguments: str | Path, stdin: str = "") -> CommandRun:
    """Run `fsv2v ARGUMENTS` on two cores. Raises RuntimeError with its stderr when it fails."""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    cores = set(sorted(os.sched_getaffinity(0))[:2])
    start = time.perf_counter()
    process = subprocess.run(
        [sys.executable, "-c", MAIN, *map(str, arguments)],
        input=stdin, text=True, capture_output=True, env=environment, preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )  # fmt: skip
    usage = re.search(r"peak (\d+) cpu ([\d.]+)", process.stderr)
    if process.returncode or usage is None:
        raise RuntimeError(process.stderr)
    return CommandRun(time.perf_counter() - start, int(usage[1]) / (1 << 20 if sys.platform == "darwin" else 1 << 10), float(usage[2]))


def run_over_finished(finished: Path, count: int, command: list[str], folder: Path) -> CommandRun:
    """Run the command over `count` links to one finished clip. It skips them all."""
    folder.mkdir()
    links = [folder / f"{index}.clip" for index in range(count)]
    for link in links:
        link.symlink_to(finished)
    return fsv2v(*command, "-", "--jobs", "2", "-q", stdin="".join(f"{link}\n" for link in links))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path)
    parser.add_argument("--stage", default="extract-sketch", choices=["extract-sketch", "extract-poses", "segment"])
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--frames", type=int, default=250, help="frames of a video")
    parser.add_argument("--clips", type=int, default=50, help="number of videos")
    parser.add_argument("--few", type=int, default=200, help="number of inputs in the short list of finished clips")
    parser.add_argument("--many", type=int, default=2000, help="number of inputs in the long list of finished clips")
    arguments = parser.parse_args()
    command = [arguments.stage, "--backend", arguments.backend]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        videos = [loop_video(arguments.video, arguments.frames + index % 7, folder / f"{index}.mp4") for index in range(arguments.clips)]
        one = fsv2v(*command, *videos, "-o", folder / "one", "-q")
        two = fsv2v(*command, *videos, "-o", folder / "two", "--jobs", "2", "-q")
        ray = fsv2v(*command, *videos, "-o", folder / "ray", "--jobs", "2", "--engine", "ray", "-q")
        again = fsv2v(*command, *videos, "-o", folder / "two", "--jobs", "2", "-q")
        finished = folder / "two" / "0.clip"
        size = sum(file.stat().st_size for file in finished.rglob("*") if file.is_file())
        few, many = (run_over_finished(finished, count, command, folder / f"{count} links") for count in (arguments.few, arguments.many))
    frames = sum(arguments.frames + index % 7 for index in range(arguments.clips))

    def figures(run: CommandRun) -> dict[str, float | str]:
        return {"clips": arguments.clips, "seconds": run.seconds, "frames/s": frames / run.seconds, "MiB": run.peak}

    rows: list[dict[str, float | str]] = [
        {"what": "--jobs 1", **figures(one), "CPU s": one.cpu},
        {"what": "--jobs 2", **figures(two), "CPU s": two.cpu},
        {"what": "--engine ray", **figures(ray)},
        {"what": "finished videos", "clips": arguments.clips, "seconds": again.seconds, "MiB": again.peak},
        {"what": "finished clips", "clips": arguments.few, "seconds": few.seconds, "MiB": few.peak},
        {"what": "finished clips", "clips": arguments.many, "seconds": many.seconds, "MiB": many.peak},
        {"what": "one more finished clip", "clips": 1, "seconds": (many.seconds - few.seconds) / (arguments.many - arguments.few)},
        {"what": "files of a clip, without its video", "clips": 1, "MiB": size / (1 << 20)},
    ]
    goals = {
        "Ray relative to --jobs 2": (ray.seconds / two.seconds, RAY_GOAL, ray.seconds <= RAY_GOAL * two.seconds),
        "--jobs 2 relative to --jobs 1": (one.seconds / two.seconds, JOBS_GOAL, one.seconds >= JOBS_GOAL * two.seconds),
        f"memory at {arguments.many} inputs relative to {arguments.few}": (
            many.peak / few.peak,
            MEMORY_GOAL,
            many.peak <= MEMORY_GOAL * few.peak,
        ),
    }
    report("many", rows, goals)


if __name__ == "__main__":
    main()
