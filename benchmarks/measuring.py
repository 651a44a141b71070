"""Functions that the benchmarks share: they measure the time and memory of a command, make long videos and print results."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from stages.clip import probe
from stages.clip.ffmpeg import executable

FSV2V = "from fsv2v_cli.main import main; main()"


@dataclass(frozen=True)
class CommandRun:
    """A finished run of a command."""

    seconds: float
    """Wall time."""
    peak: float
    """Largest resident memory of the process or of any of its children, in MiB."""
    output: str
    """Its stdout."""


def fsv2v(*arguments: object, cores: int = 2) -> CommandRun:
    """Run `fsv2v ARGUMENTS` on `cores` cores. Raises RuntimeError when it fails."""
    return python(FSV2V, *arguments, cores=cores)


def python(program: str, *arguments: object, cores: int = 2) -> CommandRun:
    """Run a Python program, given as source code, on `cores` cores. Raises RuntimeError when it fails."""
    command = [sys.executable, "-c", program, *map(str, arguments)]
    affinity = set(sorted(os.sched_getaffinity(0))[:cores])
    environment = {**os.environ, "OMP_NUM_THREADS": str(cores)}
    start = time.perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=environment, preexec_fn=lambda: os.sched_setaffinity(0, affinity)
    )
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{program} {' '.join(map(str, arguments))} failed with exit code {process.returncode}")
    return CommandRun(time.perf_counter() - start, _mebibytes(usage), output)


@contextlib.contextmanager
def keep_busy(processes: int) -> Iterator[None]:
    """Keep the cores busy during the block with this number of processes of lower priority (nice 10)."""
    workers = [subprocess.Popen(["nice", sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()


def _mebibytes(usage: resource.struct_rusage) -> float:
    """The largest resident memory, which macOS reports in bytes and Linux in KiB."""
    return usage.ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def loop_video(video: Path, frames: int, out: Path) -> Path:
    """Write a video of `frames` frames to `out` by repeating `video`, encoded again and without sound."""
    repeats = -(-frames // probe(video).num_frames)
    command = [executable(), "-v", "error", "-y", "-stream_loop", str(repeats), "-i", str(video), "-an", "-frames:v", str(frames)]
    subprocess.run([*command, "-preset", "ultrafast", "-pix_fmt", "yuv420p", str(out)], check=True)
    return out


def report(benchmark: str, rows: Sequence[dict[str, float | str]], goals: dict[str, tuple[float, float, bool]]) -> None:
    """Print one JSON line, then a table of the rows (column -> value), then the goals (name -> (value, goal, whether it is met))."""
    outcome = {name: {"value": round(value, 3), "goal": goal, "met": met} for name, (value, goal, met) in goals.items()}
    print(json.dumps({"benchmark": benchmark, "rows": list(rows), "goals": outcome}))
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [names] + [[_text(row.get(name, "")) for name in names] for row in rows]
    widths = [max(len(line[column]) for line in cells) for column in range(len(names))]
    for line in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    for name, (value, goal, met) in goals.items():
        print(f"{name}: {value:.3f}, goal {goal:g}: {'met' if met else 'MISSED'}")


def _text(value: float | str) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
