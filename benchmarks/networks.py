"""What the inference form of the networks brings, on the paper preset.

    python benchmarks/networks.py [--preset paper] [--frames 4] [--only frames attention training]

The baseline of the frames is a straightforward evaluation of the same weights in the same run: fp32, spectral norms computed each time,
the examples encoded and all weights generated anew for every frame, one sample after the other, dense maps of attention. Goals: K = 1
2 times as many frames per second, K = 4 with pixel attention 3.5 times, K = 8 with compact attention 6 times; with compact attention 16
examples cost at most 5 per cent more than 2, and a training step at K = 4 at most 0.78 of one with pixel attention; the attention of
K = 4 at 512x512 takes less than 200 MB.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from measuring import report
from torch import Tensor

from stages.networks.common.frame import Frame
from stages.networks.common.inference import Renderer, Speed
from stages.networks.fewshot.attention import Attention, Memory
from stages.networks.fewshot.config import PRESETS, FewShotConfig
from stages.networks.fewshot.generator import FewShotGenerator

Row = dict[str, float | str]
Goals = dict[str, tuple[float, float, bool]]
KEYPOINTS = 68
MEMORY_GOAL, TRAINING_GOAL, EVEN_GOAL = 200.0, 0.78, 1.05


def dense_recall(self: Attention, query: Tensor, memory: Memory, size: tuple[int, int], count: int) -> tuple[Tensor, Tensor]:
    """softmax(Q K^T) V as it is written."""
    mixed = ((query @ memory.keys.mT).softmax(-1) @ memory.values).mT.unflatten(2, size)
    return mixed[:, :-count], mixed[:, -count:]


class Straightforward:
    """The generator as its papers describe it, with nothing kept from frame to frame but the frame itself."""

    def __init__(self, generator: FewShotGenerator) -> None:
        self.generator = generator
        self.generator.attention.recall = dense_recall.__get__(self.generator.attention)  # type: ignore[method-assign]

    def step(self, examples: Frame, driving: Frame, past: Frame) -> Tensor:
        frames = []
        for b in range(len(driving.semantic)):
            of_example, now, before = (frame.map(lambda x, b=b: x[b : b + 1]) for frame in (examples, driving, past))  # type: ignore[misc]
            frames.append(self.generator.step(self.generator.encode_examples(of_example), now, before)[0])
        return torch.cat(frames)


def generator_of(config: FewShotConfig) -> FewShotGenerator:
    torch.manual_seed(0)
    return FewShotGenerator(config).eval().requires_grad_(False)


def scene(config: FewShotConfig, count: int) -> tuple[Frame, Frame, Frame]:
    """K examples, a driving frame and a past one."""
    draw = torch.Generator().manual_seed(count)
    images = torch.rand(1, count, 3, *config.size, generator=draw) * 2 - 1
    semantics = torch.rand(1, count, config.semantic_channels, *config.size, generator=draw)
    keypoints = torch.rand(1, count, KEYPOINTS, 3, generator=draw) * min(config.size)
    examples = Frame(semantics, keypoints, images)
    return examples, Frame(semantics[:, 0].flip(-1), keypoints[:, 0]), examples.map(lambda x: x[:, 0])


def seconds(action: Callable[[], object], repeats: int) -> float:
    """The median of `repeats` runs after a first one that does not count."""
    action()
    times = []
    for _ in range(repeats):
        begun = time.perf_counter()
        action()
        times.append(time.perf_counter() - begun)
    return statistics.median(times)


def fast(config: FewShotConfig, count: int, speed: Speed, repeats: int) -> float:
    examples, driving, past = scene(config, count)
    renderer = Renderer(generator_of(config), speed)
    code = renderer.encode_examples(examples)
    return seconds(lambda: renderer.step(code, driving, past), repeats)


def straightforward(config: FewShotConfig, count: int, repeats: int) -> float:
    examples, driving, past = scene(config, count)
    plain = Straightforward(generator_of(config))
    with torch.no_grad():
        return seconds(lambda: plain.step(examples, driving, past), repeats)


def frames(config: FewShotConfig, repeats: int) -> tuple[list[Row], Goals]:
    """Seconds per steady frame for K = 1, 4, and 8 with compact attention; 16 against 2 examples."""
    compact = replace(config, attention="compact")
    rows: list[Row] = []
    goals: Goals = {}
    for name, kind, count, goal in (("K = 1", config, 1, 2.0), ("K = 4, pixel", config, 4, 3.5), ("K = 8, compact", compact, 8, 6.0)):
        base = straightforward(config, count, repeats)
        rows.append({"what": f"{name}: straightforward, pixel", "seconds": base, "ratio": 1.0})
        if kind is compact:
            own = straightforward(compact, count, repeats)
            rows.append({"what": f"{name}: straightforward, compact", "seconds": own, "ratio": base / own})
        for precision in ("fp32", "auto"):
            taken = fast(kind, count, Speed(precision), repeats)
            rows.append({"what": f"{name}: {precision}", "seconds": taken, "ratio": base / taken})
        goals[name] = (base / taken, goal, base / taken >= goal)
    few, many = (fast(compact, count, Speed(), max(repeats, 7)) for count in (2, 16))
    rows.append({"what": "compact, K = 2", "seconds": few, "ratio": 1.0})
    rows.append({"what": "compact, K = 16", "seconds": many, "ratio": few / many})
    goals["compact, K = 16 of K = 2 (at most)"] = (many / few, EVEN_GOAL, many / few <= EVEN_GOAL)
    return rows, goals


def attention_memory() -> float:
    """MB by which the process grows when K = 4 examples of 512x512 are attended to, at a quarter of that size, 128 + 256 channels."""
    side, count = 128, 4
    attention = Attention(1, 128, 2)
    query = torch.randn(1, side * side, 128)
    memory = attention.memorise(torch.randn(1, count, side * side, 128), torch.randn(1, count, 256, side, side))
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew from what is resident now
    with torch.no_grad():
        before = _status("VmRSS")
        attention.recall(query, memory, (side, side), count)
    return _status("VmHWM") - before


def _status(field: str) -> float:
    """A line of Linux's /proc/self/status, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def attention() -> tuple[list[Row], Goals]:
    """In a process of its own, whose peak nothing else has raised."""
    command = [sys.executable, __file__, "--attention-memory"]
    grown = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    rows: list[Row] = [{"what": "attention, K = 4, 512x512", "MB": grown, "dense map, MB": 4 * 128**4 * 4 / 2**20}]
    return rows, {"attention, K = 4, 512x512, MB (at most)": (grown, MEMORY_GOAL, grown < MEMORY_GOAL)}


def training(config: FewShotConfig, repeats: int) -> tuple[list[Row], Goals]:
    """Forward and backward of the generator at K = 4, batch 1, fp32."""
    examples, driving, past = scene(config, 4)

    def step(net: FewShotGenerator) -> None:
        made = net.synthesize(net.encode_examples(examples), driving, past)
        made.frame.square().mean().backward()
        net.zero_grad(set_to_none=True)

    taken = {}
    for kind in ("pixel", "compact"):
        net = generator_of(replace(config, attention=kind)).requires_grad_(True)
        taken[kind] = seconds(partial(step, net), repeats)
    ratio = taken["compact"] / taken["pixel"]
    rows: list[Row] = [
        {"what": f"training step, {kind}", "seconds": value, "ratio": value / taken["pixel"]} for kind, value in taken.items()
    ]
    return rows, {"training step, compact of pixel (at most)": (ratio, TRAINING_GOAL, ratio <= TRAINING_GOAL)}


def processor() -> str:
    """Its name as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="paper", choices=sorted(PRESETS))
    parser.add_argument("--frames", type=int, default=4, help="repetitions of each measurement")
    parser.add_argument("--only", nargs="+", choices=("frames", "attention", "training"), default=("frames", "attention", "training"))
    parser.add_argument("--attention-memory", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.attention_memory:
        sys.stdout.write(f"{attention_memory()}\n")
        return
    config = PRESETS[asked.preset]
    parts = {
        "frames": lambda: frames(config, asked.frames),
        "attention": attention,
        "training": lambda: training(config, max(2, asked.frames // 2)),
    }
    rows: list[Row] = []
    goals: Goals = {}
    for name in asked.only:
        more, said = parts[name]()
        rows += more
        goals |= said
    report(f"networks: {asked.preset} on {processor()}, {torch.get_num_threads()} threads", rows, goals)


if __name__ == "__main__":
    main()
