"""Many inputs: Ray against processes, two jobs against one, what a finished clip costs, and whether memory grows with the inputs.

    python benchmarks/many.py VIDEO [--stage extract-sketch] [--backend dlib] [--frames 250] [--clips 50] [--few 200] [--many 2000]

VIDEO, which should show one face or person, is looped to clips of --frames frames. Goals: Ray on this machine takes at most 1.15 times as
long as --jobs 2, its start of some seconds included; two jobs are 1.7 times as fast as one on two cores; the command's own process needs
at most 1.05 times the memory for --many inputs that it needs for --few. Users do not set OMP_NUM_THREADS, and so it is unset here.
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

GOAL_OF_RAY, GOAL_OF_JOBS, GOAL_OF_MEMORY = 1.15, 1.7, 1.05
MAIN = """
import atexit, resource, sys
def spent():
    own, workers = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = own.ru_utime + own.ru_stime + workers.ru_utime + workers.ru_stime
    print(f"peak {own.ru_maxrss} cpu {cpu}", file=sys.stderr)
atexit.register(spent)
from fsv2v_cli.main import main
main()
"""


@dataclass(frozen=True)
class CommandRun:
    """Wall time in seconds, start included; peak resident memory in MiB of the command's own process, without its workers; seconds of
    all cores together in it and in its workers (those of Ray are not its children)."""

    seconds: float
    peak: float
    cpu: float


def fsv2v(*arguments: str | Path, stdin: str = "") -> CommandRun:
    """Run `fsv2v ARGUMENTS` on two cores. Raises RuntimeError with its complaints when it fails."""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    cores = set(sorted(os.sched_getaffinity(0))[:2])
    begun = time.perf_counter()
    ran = subprocess.run(
        [sys.executable, "-c", MAIN, *map(str, arguments)],
        input=stdin, text=True, capture_output=True, env=environment, preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )  # fmt: skip
    spent = re.search(r"peak (\d+) cpu ([\d.]+)", ran.stderr)
    if ran.returncode or spent is None:
        raise RuntimeError(ran.stderr)
    return CommandRun(time.perf_counter() - begun, int(spent[1]) / (1 << 20 if sys.platform == "darwin" else 1 << 10), float(spent[2]))


def skipping(finished: Path, count: int, command: list[str], folder: Path) -> CommandRun:
    """A run over `count` names of one finished clip."""
    folder.mkdir()
    names = [folder / f"{index}.clip" for index in range(count)]
    for name in names:
        name.symlink_to(finished)
    return fsv2v(*command, "-", "--jobs", "2", "-q", stdin="".join(f"{name}\n" for name in names))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path)
    parser.add_argument("--stage", default="extract-sketch", choices=["extract-sketch", "extract-poses", "segment"])
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--frames", type=int, default=250)
    parser.add_argument("--clips", type=int, default=50)
    parser.add_argument("--few", type=int, default=200)
    parser.add_argument("--many", type=int, default=2000)
    asked = parser.parse_args()
    command = [asked.stage, "--backend", asked.backend]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        videos = [loop_video(asked.video, asked.frames + index % 7, folder / f"{index}.mp4") for index in range(asked.clips)]
        one = fsv2v(*command, *videos, "-o", folder / "one", "-q")
        two = fsv2v(*command, *videos, "-o", folder / "two", "--jobs", "2", "-q")
        ray = fsv2v(*command, *videos, "-o", folder / "ray", "--jobs", "2", "--engine", "ray", "-q")
        again = fsv2v(*command, *videos, "-o", folder / "two", "--jobs", "2", "-q")
        finished = folder / "two" / "0.clip"
        size = sum(file.stat().st_size for file in finished.rglob("*") if file.is_file())
        few, many = (skipping(finished, count, command, folder / f"{count} names") for count in (asked.few, asked.many))
    frames = sum(asked.frames + index % 7 for index in range(asked.clips))

    def of(ran: CommandRun) -> dict[str, float | str]:
        return {"clips": asked.clips, "seconds": ran.seconds, "frames/s": frames / ran.seconds, "MiB": ran.peak}

    rows: list[dict[str, float | str]] = [
        {"what": "--jobs 1", **of(one), "CPU s": one.cpu},
        {"what": "--jobs 2", **of(two), "CPU s": two.cpu},
        {"what": "--engine ray", **of(ray)},
        {"what": "finished videos", "clips": asked.clips, "seconds": again.seconds, "MiB": again.peak},
        {"what": "finished clips", "clips": asked.few, "seconds": few.seconds, "MiB": few.peak},
        {"what": "finished clips", "clips": asked.many, "seconds": many.seconds, "MiB": many.peak},
        {"what": "one more finished clip", "clips": 1, "seconds": (many.seconds - few.seconds) / (asked.many - asked.few)},
        {"what": "files of a clip, its video apart", "clips": 1, "MiB": size / (1 << 20)},
    ]
    goals = {
        "Ray of --jobs 2": (ray.seconds / two.seconds, GOAL_OF_RAY, ray.seconds <= GOAL_OF_RAY * two.seconds),
        "--jobs 2 of --jobs 1": (one.seconds / two.seconds, GOAL_OF_JOBS, one.seconds >= GOAL_OF_JOBS * two.seconds),
        f"memory at {asked.many} of {asked.few}": (many.peak / few.peak, GOAL_OF_MEMORY, many.peak <= GOAL_OF_MEMORY * few.peak),
    }
    report("many", rows, goals)


if __name__ == "__main__":
    main()
