"""Frames per second of a model's step in onnxruntime, against PyTorch in fp32 and in bf16. From 1.2 times on it would be worth an option.

    python benchmarks/onnx_speed.py [--model face-256] [--num-examples 1] [--threads 2] [--frames 30]

The model is exported by `fsv2v export`; all ways make the same drawn frames in turn, and the fastest frame of each counts. What the
network takes is made beforehand.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import onnxruntime
import torch
from measuring import report

import fsv2v
from stages.export.trial import Trial, arrays, fed
from stages.networks.common.inference import Precision, Renderer, Speed

WORTH = 1.2


def torch_step(model: fsv2v.Model, trial: Trial, precision: Precision) -> Callable[[], object]:
    renderer = Renderer(model.generator, Speed(precision))
    code, (past, driving, _) = renderer.encode_examples(trial.examples), trial.frames
    return lambda: renderer.step(code, driving, past)


def onnx_step(folder: Path, trial: Trial, threads: int) -> Callable[[], object]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    encoder, step = (
        onnxruntime.InferenceSession(folder / name, options, providers=["CPUExecutionProvider"]) for name in ("encoder.onnx", "next.onnx")
    )
    made = encoder.run(None, fed(encoder, arrays(trial.examples, "examples")))
    code = dict(zip([output.name for output in encoder.get_outputs()], made, strict=True))
    past, driving, _ = trial.frames
    given = fed(step, {**code, **arrays(driving, "frame"), **arrays(past, "past")})
    return lambda: step.run(None, given)


def fastest(ways: dict[str, Callable[[], object]], frames: int) -> dict[str, tuple[float, float]]:
    """Seconds of a frame, and seconds of the processor."""
    best = {name: (float("inf"), float("inf")) for name in ways}
    for _ in range(frames):
        for name, way in ways.items():
            begun = time.perf_counter(), time.process_time()
            way()
            best[name] = min(best[name][0], time.perf_counter() - begun[0]), min(best[name][1], time.process_time() - begun[1])
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="face-256")
    parser.add_argument("--num-examples", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--frames", type=int, default=30)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    model = fsv2v.load_model(asked.model)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "exported"
        fsv2v.export_model(model, folder, num_examples=asked.num_examples)
        trial = Trial.of(model.generator, asked.num_examples)
        ways = {f"PyTorch, {precision}": torch_step(model, trial, precision) for precision in ("fp32", "bf16")}
        found = fastest({**ways, "onnxruntime, fp32": onnx_step(folder, trial, asked.threads)}, asked.frames)
    slowest = found["PyTorch, fp32"][0]
    rows: list[dict[str, float | str]] = [
        {"what": name, "frames/s": 1 / seconds, "of PyTorch, fp32": slowest / seconds, "ms of the processor": 1000 * busy}
        for name, (seconds, busy) in found.items()
    ]
    ratio = min(found[name][0] for name in ways) / found["onnxruntime, fp32"][0]
    report("onnx_speed", rows, {"of the faster form in PyTorch": (ratio, WORTH, ratio >= WORTH)})


if __name__ == "__main__":
    main()
