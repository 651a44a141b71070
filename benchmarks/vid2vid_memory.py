"""Memory of vid2vid at 2048x1024, with the dimensions of the paper and random weights, on drawn label maps.

    python benchmarks/vid2vid_memory.py [--part synthesize train] [--frames 20]

synthesize: a video from a model file and a clip of label maps, as by `fsv2v synthesize`. A row for each frame has the resident memory after
the frame and the peak during it, both including ffmpeg. Goals: a peak of less than 6 GB, including loading, and no growth from frame 10 on.

train: one step on a window of two frames after two real frames, with all losses of the recipe and checkpointed activations. The windows of
a batch are computed one after another (`--batch`). A step at width 512 comes first to fill the optimiser's state. Goal: less
than 16 GB. Linux only.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import report

from fsv2v import synthesize
from fsv2v.reporting import Reporter
from stages.clip import Producer, create_clip
from stages.compute.allocator import keep_freed_memory
from stages.models import save_model
from stages.models.perceptual import PerceptualDistance
from stages.networks.common.frame import Frame
from stages.networks.features import vgg
from stages.networks.vid2vid import PRESETS, Vid2Vid, Vid2VidConfig
from stages.tables.label_tables import LabelTable
from stages.train import Phase, read_recipe
from stages.train.batch import Batch
from stages.train.trainer import ComputeSettings, Trainer

SYNTHESIS_GOAL, TRAINING_GOAL = 6.0, 16.0
STEADY_FROM = 10
MAX_GROWTH = 0.01
"""Growth of memory after frame `STEADY_FROM`, relative to the memory at this frame, that counts as none."""
LIMIT = 17e9
"""Limit of the memory of training in bytes. An allocation beyond it fails before the machine runs out of memory."""
LABELS = 18
"""Number of labels in a frame, of 35."""
FOREGROUND = (0, 1, 2)
"""Any three labels; the cost is the same."""
SIZES = (512, 1024, 2048)


def main() -> None:
    options = _options()
    if options.inside:
        print(json.dumps({"synthesize": measure_synthesis, "train": measure_training}[options.inside](options)))
        return
    rows: list[dict[str, float | str]] = []
    goals: dict[str, Any] = {}
    for part in options.part:
        measured = _run_in_subprocess(part, options)
        rows += measured["rows"]
        goals |= {name: tuple(goal) for name, goal in measured["goals"].items()}
    report("vid2vid_memory", rows, goals)


def _run_in_subprocess(part: str, options: argparse.Namespace) -> dict[str, Any]:
    settings = {"width": options.width, "frames": options.frames, "batch": options.batch}
    arguments = [text for name, value in settings.items() for text in (f"--{name}", str(value))]
    process = subprocess.run([sys.executable, __file__, "--inside", part, *arguments], stdout=subprocess.PIPE, text=True, check=True)
    return dict(json.loads(process.stdout.splitlines()[-1]))


class _MemoryCurve(Reporter):
    """Memory after each frame, and the peak during the frame."""

    def __init__(self) -> None:
        self.rows: list[dict[str, float | str]] = []
        self._start = time.perf_counter()

    def progress(self, done: int, total: int, **figures: float) -> None:
        now = time.perf_counter()
        if done == 1:
            keep_freed_memory()
        self.rows.append({"frame": done, "GB": _resident(), "peak GB": _peak(), "s": now - self._start})
        _reset_peak()
        self._start = now
        print(self.rows[-1], file=sys.stderr, flush=True)


def measure_synthesis(options: argparse.Namespace) -> dict[str, Any]:
    config = _config(options.width)
    with tempfile.TemporaryDirectory() as temporary:
        model, driving, curve = Path(temporary) / "model.safetensors", Path(temporary) / "drive.clip", _MemoryCurve()
        _run_in_fork(lambda: _write_inputs(model, config, driving, options.frames))
        _reset_peak()
        synthesize(None, driving, Path(temporary) / "out.mp4", model=model, reporter=curve)
    peak = max(float(row["peak GB"]) for row in curve.rows)
    goals: dict[str, Any] = {f"synthesis at width {options.width}, GB": (peak, SYNTHESIS_GOAL, peak < SYNTHESIS_GOAL)}
    if len(steady := [float(row["GB"]) for row in curve.rows[STEADY_FROM - 1 :]]) > 1:
        growth = max(steady) / steady[0] - 1
        goals["growth after frame 10"] = (growth, MAX_GROWTH, growth <= MAX_GROWTH)
    return {"rows": curve.rows, "goals": goals}


def _write_inputs(model: Path, config: Vid2VidConfig, driving: Path, frames: int) -> None:
    """A model with random weights, and a clip of label maps that move to the right."""
    torch.manual_seed(0)
    save_model(model, Vid2Vid(config).state_dict(), config, {"step": 1})
    height, width = config.size
    names = tuple(f"label {number}" for number in range(config.semantic_channels))
    labels = LabelTable("drawn", names, tuple((number, number, number) for number in range(len(names))))
    clip = create_clip(driving, width=width, height=height, num_frames=frames)
    cells = np.random.default_rng(0).integers(LABELS, size=(height // 32, width // 32), dtype=np.uint8)
    label_map = cells.repeat(32, 0).repeat(32, 1)
    with clip.writing("segment", Producer("vid2vid_memory"), {}, labels.meta()) as layer:
        for time_step in range(frames):
            layer.image(np.roll(label_map, 4 * time_step, 1))


def _run_in_fork(work: Any) -> None:
    """Run `work` in a child process, so that its memory does not count."""
    import multiprocessing

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join()
    if process.exitcode:
        raise RuntimeError(f"the preparation ended with {process.exitcode}")


def measure_training(options: argparse.Namespace) -> dict[str, Any]:
    resource.setrlimit(resource.RLIMIT_DATA, (int(LIMIT), int(LIMIT)))
    recipe = read_recipe(f"vid2vid-street-{options.width}")
    config = _config(options.width)
    warm_up = Phase(1, frames=1, scale=512 / options.width, batch=1)
    last = Phase(1, frames=2, batch=options.batch)
    torch.manual_seed(0)
    perceptual = PerceptualDistance(vgg.Vgg19(), vgg.l1_distance, vgg.TAP_WEIGHTS).requires_grad_(False).eval()
    settings = ComputeSettings(accumulate=options.batch, checkpoint=True)
    trainer = Trainer(replace(recipe, generator=config, phases=(warm_up, last)), torch.device("cpu"), perceptual, settings)
    rows: list[dict[str, float | str]] = []
    for phase in (warm_up, last):
        _reset_peak()
        begun = time.perf_counter()
        terms = trainer.train_step(_batch(config, phase, real_frames=config.past_frames), phase).terms
        height, width = trainer.config.size_of(phase)
        rows.append({"size": f"{width}x{height}", "T": phase.frames, "peak GB": _peak(), "s": time.perf_counter() - begun})
        print(rows[-1], terms, file=sys.stderr, flush=True)
    peak = max(float(row["peak GB"]) for row in rows)
    return {"rows": rows, "goals": {f"training at width {options.width}, GB": (peak, TRAINING_GOAL, peak < TRAINING_GOAL)}}


def _batch(config: Vid2VidConfig, phase: Phase, real_frames: int) -> Batch:
    """Windows of the phase after `real_frames` real frames: random label maps of squares, noise as images, and a constant flow."""
    height, width = (round(phase.scale * side) for side in config.size)
    count, length = phase.batch, phase.frames + real_frames
    rng = torch.Generator().manual_seed(0)
    cells = torch.randint(LABELS, (count, length, height // 32, width // 32), generator=rng)
    ids = cells.repeat_interleave(32, 2).repeat_interleave(32, 3)
    semantic = torch.zeros(count, length, config.semantic_channels, height, width).scatter_(2, ids[:, :, None], 1)
    frames = Frame(semantic, torch.zeros(count, length, 0, 3), torch.rand(count, length, 3, height, width, generator=rng) * 2 - 1)
    flows, confidence = torch.ones(count, length - 1, 2, height, width), torch.ones(count, length - 1, 1, height, width)
    empty = torch.zeros(count, length, 0, 2, height, width), torch.zeros(count, length, 0, 1, height, width)
    packed = frames.packed()
    return Batch(packed, packed.map(lambda x: x[:, :1]), flows, confidence, *empty, torch.arange(count), real_frames)


def _config(width: int) -> Vid2VidConfig:
    return replace(PRESETS[f"vid2vid-street-{width}"], foreground=FOREGROUND)


def _resident() -> float:
    """Resident memory of this process and of ffmpeg, in GB."""
    return sum(_status("VmRSS"))


def _peak() -> float:
    """Peak memory of this process since `_reset_peak`, plus that of ffmpeg since its start, in GB."""
    return sum(_status("VmHWM"))


def _status(name: str) -> Iterator[float]:
    """A field of /proc/PID/status of this process and of each of its children, in GB."""
    children = [text for task in Path("/proc/self/task").iterdir() for text in (task / "children").read_text().split()]
    for process in ("self", *children):
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                yield int(line.split()[1]) * 1024 / 1e9


def _reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", nargs="+", choices=["synthesize", "train"], default=["synthesize", "train"])
    parser.add_argument(
        "--frames", type=int, default=20, help="frames to synthesize; 510 frames are 30 seconds of video and take 90 minutes"
    )
    parser.add_argument("--batch", type=int, default=2, help="windows of a training step, computed one after another")
    parser.add_argument("--width", type=int, choices=SIZES, default=2048)
    parser.add_argument("--inside", choices=["synthesize", "train"], help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
