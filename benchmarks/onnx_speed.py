"""Frames per second of a model in onnxruntime, relative to PyTorch in fp32 and in bf16.

    python benchmarks/onnx_speed.py [--model face-256] [--num-examples 1] [--threads 2] [--frames 30]

The model is exported by `fsv2v export`. onnxruntime and PyTorch make the same frame in turn from random images, and the fastest frame of
each counts. Goal: 1.2 times the speed of PyTorch's faster precision, which would justify an option of `synthesize`.
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
from stages.export.check import SampleInput, frame_arrays, run_network, select_inputs
from stages.networks.common.inference import InferenceOptions, Precision, Renderer
from stages.networks.fewshot.generator import FewShotGenerator

WORTHWHILE = 1.2


def torch_step(model: fsv2v.Model, sample: SampleInput, precision: Precision) -> Callable[[], object]:
    renderer = Renderer(model.generator, InferenceOptions(precision))
    code, (past, driving, _) = renderer.encode_examples(sample.examples), sample.frames
    return lambda: renderer.step(code, driving, past)


def onnx_step(folder: Path, sample: SampleInput, threads: int) -> Callable[[], object]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    encoder, step = (
        onnxruntime.InferenceSession(folder / name, options, providers=["CPUExecutionProvider"]) for name in ("encoder.onnx", "next.onnx")
    )
    code = run_network(encoder, frame_arrays(sample.examples, "examples"))
    past, driving, _ = sample.frames
    inputs = select_inputs(step, {**code, **frame_arrays(driving, "frame"), **frame_arrays(past, "past")})
    return lambda: step.run(None, inputs)


def time_fastest(steps: dict[str, Callable[[], object]], frames: int) -> dict[str, tuple[float, float]]:
    """Seconds and processor seconds of the fastest frame of each step. The steps alternate."""
    best = {name: (float("inf"), float("inf")) for name in steps}
    for _ in range(frames):
        for name, step in steps.items():
            start = time.perf_counter(), time.process_time()
            step()
            best[name] = min(best[name][0], time.perf_counter() - start[0]), min(best[name][1], time.process_time() - start[1])
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="face-256")
    parser.add_argument("--num-examples", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--frames", type=int, default=30)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    model = fsv2v.load_model(arguments.model)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "exported"
        fsv2v.export_model(model, folder, num_examples=arguments.num_examples)
        assert isinstance(model.generator, FewShotGenerator)
        sample = SampleInput.create(model.generator, arguments.num_examples)
        torch_steps = {f"PyTorch, {precision}": torch_step(model, sample, precision) for precision in ("fp32", "bf16")}
        times = time_fastest({**torch_steps, "onnxruntime, fp32": onnx_step(folder, sample, arguments.threads)}, arguments.frames)
    reference = times["PyTorch, fp32"][0]
    rows: list[dict[str, float | str]] = [
        {"what": name, "frames/s": 1 / seconds, "ratio to PyTorch, fp32": reference / seconds, "processor ms": 1000 * processor}
        for name, (seconds, processor) in times.items()
    ]
    ratio = min(times[name][0] for name in torch_steps) / times["onnxruntime, fp32"][0]
    report("onnx_speed", rows, {"speed relative to the faster precision in PyTorch": (ratio, WORTHWHILE, ratio >= WORTHWHILE)})


if __name__ == "__main__":
    main()
