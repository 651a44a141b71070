"""Speed and memory of the fast form of few-shot vid2vid, with the preset `paper`.

    python benchmarks/networks.py [--preset paper] [--frames 4] [--only frames attention training]

The baseline is a straightforward evaluation of the same weights in the same run: in fp32, with spectral norms computed each time, with the
examples encoded and all weights generated again for every frame, one sample of a batch after another, and with dense attention maps.
For compact attention at K = 8, the baseline has pixel-wise attention.

Goals for frames per second: 2 times the baseline at K = 1, 3.5 times at K = 4 with pixel-wise attention, 6 times at K = 8 with compact
attention. With compact attention, 16 examples take at most 1.05 times as long as 2, and a training step at K = 4 takes at most 0.78 of the
time with pixel-wise attention. Pixel-wise attention to K = 4 examples of 512x512 needs less than 200 MB.
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
from stages.networks.common.inference import InferenceOptions, Renderer
from stages.networks.fewshot.attention import Attention, Memory
from stages.networks.fewshot.config import PRESETS, FewShotConfig
from stages.networks.fewshot.generator import FewShotGenerator

Row = dict[str, float | str]
Goals = dict[str, tuple[float, float, bool]]
KEYPOINTS = 68
MEMORY_GOAL, TRAINING_GOAL, MANY_EXAMPLES_GOAL = 200.0, 0.78, 1.05


def dense_recall(self: Attention, query: Tensor, memory: Memory, size: tuple[int, int], count: int) -> tuple[Tensor, Tensor]:
    """softmax(Q K^T) V with the whole attention map in memory -> features, and the share of each of the `count` examples."""
    mixed = ((query @ memory.keys.mT).softmax(-1) @ memory.values).mT.unflatten(2, size)
    return mixed[:, :-count], mixed[:, -count:]


class Straightforward:
    """The generator evaluated as its papers describe it. Of a frame, only its image is kept for the next one."""

    def __init__(self, generator: FewShotGenerator) -> None:
        self.generator = generator
        self.generator.attention.recall = dense_recall.__get__(self.generator.attention)  # type: ignore[method-assign]

    def step(self, examples: Frame, driving: Frame, past: Frame) -> Tensor:
        frames = []
        for b in range(len(driving.semantic)):
            example, present, before = (frame.map(lambda x, b=b: x[b : b + 1]) for frame in (examples, driving, past))  # type: ignore[misc]
            frames.append(self.generator.step(self.generator.encode_examples(example), present, before)[0])
        return torch.cat(frames)


def make_generator(config: FewShotConfig) -> FewShotGenerator:
    torch.manual_seed(0)
    return FewShotGenerator(config).eval().requires_grad_(False)


def make_frames(config: FewShotConfig, count: int) -> tuple[Frame, Frame, Frame]:
    """`count` examples, a driving frame and the previous frame, all of noise."""
    rng = torch.Generator().manual_seed(count)
    images = torch.rand(1, count, 3, *config.size, generator=rng) * 2 - 1
    semantics = torch.rand(1, count, config.semantic_channels, *config.size, generator=rng)
    keypoints = torch.rand(1, count, KEYPOINTS, 3, generator=rng) * min(config.size)
    examples = Frame(semantics, keypoints, images)
    return examples, Frame(semantics[:, 0].flip(-1), keypoints[:, 0]), examples.map(lambda x: x[:, 0])


def median_seconds(action: Callable[[], object], repeats: int) -> float:
    """The median of `repeats` runs after one warm-up run."""
    action()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def time_fast(config: FewShotConfig, count: int, speed: InferenceOptions, repeats: int) -> float:
    """Seconds per frame of the fast form with `count` examples."""
    examples, driving, past = make_frames(config, count)
    renderer = Renderer(make_generator(config), speed)
    code = renderer.encode_examples(examples)
    return median_seconds(lambda: renderer.step(code, driving, past), repeats)


def time_straightforward(config: FewShotConfig, count: int, repeats: int) -> float:
    """Seconds per frame of the straightforward evaluation with `count` examples."""
    examples, driving, past = make_frames(config, count)
    plain = Straightforward(make_generator(config))
    with torch.no_grad():
        return median_seconds(lambda: plain.step(examples, driving, past), repeats)


def measure_frames(config: FewShotConfig, repeats: int) -> tuple[list[Row], Goals]:
    """Seconds per frame with a previous frame, for K = 1, 4, and 8 with compact attention; 16 examples against 2."""
    compact = replace(config, attention="compact")
    rows: list[Row] = []
    goals: Goals = {}
    for name, variant, count, goal in (("K = 1", config, 1, 2.0), ("K = 4, pixel", config, 4, 3.5), ("K = 8, compact", compact, 8, 6.0)):
        base = time_straightforward(config, count, repeats)
        rows.append({"what": f"{name}: straightforward, pixel", "seconds": base, "ratio": 1.0})
        if variant is compact:
            slow = time_straightforward(compact, count, repeats)
            rows.append({"what": f"{name}: straightforward, compact", "seconds": slow, "ratio": base / slow})
        for precision in ("fp32", "auto"):
            fast = time_fast(variant, count, InferenceOptions(precision), repeats)
            rows.append({"what": f"{name}: {precision}", "seconds": fast, "ratio": base / fast})
        goals[name] = (base / fast, goal, base / fast >= goal)
    few, many = (time_fast(compact, count, InferenceOptions(), max(repeats, 7)) for count in (2, 16))
    rows.append({"what": "compact, K = 2", "seconds": few, "ratio": 1.0})
    rows.append({"what": "compact, K = 16", "seconds": many, "ratio": few / many})
    goals["compact, seconds of K = 16 relative to K = 2 (at most)"] = (many / few, MANY_EXAMPLES_GOAL, many / few <= MANY_EXAMPLES_GOAL)
    return rows, goals


def attention_memory() -> float:
    """Growth of the process in MiB during attention to K = 4 examples of 512x512, at a quarter of that size; 128 + 256 channels."""
    side, count = 128, 4
    attention = Attention(1, 128, 2)
    query = torch.randn(1, side * side, 128)
    memory = attention.memorise(torch.randn(1, count, side * side, 128), torch.randn(1, count, 256, side, side))
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak to the present resident memory
    with torch.no_grad():
        before = _status("VmRSS")
        attention.recall(query, memory, (side, side), count)
    return _status("VmHWM") - before


def _status(field: str) -> float:
    """A memory field of Linux's /proc/self/status, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def measure_attention() -> tuple[list[Row], Goals]:
    """Memory of attention, in a separate process, so that nothing else has raised the peak."""
    command = [sys.executable, __file__, "--attention-memory"]
    growth = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    rows: list[Row] = [{"what": "attention, K = 4, 512x512", "MB": growth, "dense map, MB": 4 * 128**4 * 4 / 2**20}]
    return rows, {"attention, K = 4, 512x512, MB (at most)": (growth, MEMORY_GOAL, growth < MEMORY_GOAL)}


def measure_training(config: FewShotConfig, repeats: int) -> tuple[list[Row], Goals]:
    """Forward and backward of the generator at K = 4, batch 1, fp32."""
    examples, driving, past = make_frames(config, 4)

    def step(net: FewShotGenerator) -> None:
        synthesis = net.synthesize(net.encode_examples(examples), driving, past)
        synthesis.frame.square().mean().backward()
        net.zero_grad(set_to_none=True)

    seconds = {}
    for kind in ("pixel", "compact"):
        net = make_generator(replace(config, attention=kind)).requires_grad_(True)
        seconds[kind] = median_seconds(partial(step, net), repeats)
    ratio = seconds["compact"] / seconds["pixel"]
    rows: list[Row] = [
        {"what": f"training step, {kind}", "seconds": value, "ratio": value / seconds["pixel"]} for kind, value in seconds.items()
    ]
    return rows, {"training step, compact relative to pixel (at most)": (ratio, TRAINING_GOAL, ratio <= TRAINING_GOAL)}


def processor() -> str:
    """The name of the processor."""
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
    arguments = parser.parse_args()
    if arguments.attention_memory:
        sys.stdout.write(f"{attention_memory()}\n")
        return
    config = PRESETS[arguments.preset]
    parts = {
        "frames": lambda: measure_frames(config, arguments.frames),
        "attention": measure_attention,
        "training": lambda: measure_training(config, max(2, arguments.frames // 2)),
    }
    rows: list[Row] = []
    goals: Goals = {}
    for name in arguments.only:
        part_rows, part_goals = parts[name]()
        rows += part_rows
        goals |= part_goals
    report(f"networks: {arguments.preset} on {processor()}, {torch.get_num_threads()} threads", rows, goals)


if __name__ == "__main__":
    main()
