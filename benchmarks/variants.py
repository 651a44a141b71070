"""Variants of the networks, each trained briefly in the same way and measured on held-out people.

    python benchmarks/variants.py --data data/faces [--steps 600] [--only "paper" "outer products" ...]

The networks are small, work on images of 64x64 pixels (or --side) and are trained without discriminators. The first row has the papers'
choices; each other variant differs from it as its name says, and the last row repeats the example. The figures are PSNR and perceptual
distance over the same windows of the split "val", with one example and with four. Differences below 0.2 dB are noise of the seed.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from measuring import report

from stages.models.perceptual import open_distance
from stages.networks.common.objective import PerceptualDistance
from stages.networks.fewshot.config import FewShotConfig
from stages.networks.fewshot.generator import FewShotGenerator
from stages.train.batch import Batch
from stages.train.config import Phase, TrainConfig
from stages.train.data import Dataset, Prefetcher
from stages.train.parallel import ProcessGroup
from stages.train.trainer import Trainer

SIDE = 64
BASE = FewShotConfig(
    size=(SIDE, SIDE), channels=(16, 32, 64, 128), label_channels=(16, 32, 64, 128), adaptive_levels=3, attention_level=2,
    attention_channels=32, bases=32, flow_stride=1, flow_channels=(16, 32, 64), flow_blocks=1, guided_levels=2, refine_mask=False,
    combine="matting",
)  # fmt: skip
LEARNED: dict[str, Any] = {"combine": "both", "refine_mask": True, "flow_stride": 4, "flow_channels": (32, 64, 96)}
"""W learns the flow and works at a quarter of the image's size, as in the shipped models."""
KEYPOINTS: dict[str, Any] = {**LEARNED, "motion": "keypoints"}
VARIANTS: dict[str, dict[str, Any]] = {
    "paper": {},
    "E_A: two networks": {"attention_shared": False},
    "E_P: outer products": {"pooling": "outer"},
    "label embedding: generated": {"label_embedding": "generated", "hidden": 0},
    "label embedding and E_P as in the public code": {"pooling": "outer", "label_embedding": "generated", "hidden": 0},
    "warps: multi-SPADE": {"combine": "spade"},
    "warps: both": {"combine": "both"},
    "warps: both, refined masks": {"combine": "both", "refine_mask": True},
    "attention: compact, mean": {"attention": "compact"},
    "attention: compact, unit": {"attention": "compact", "basis_norm": "unit"},
    "warps: both, refined masks, W at a quarter": LEARNED,
    "motion: keypoints": KEYPOINTS,
    "motion: keypoints, shares at half the size": {**KEYPOINTS, "flow_stride": 2},
    "motion: keypoints, one spline": {**KEYPOINTS, "spline_smoothing": (1e-3,)},
    "motion: keypoints, one spline, lambda 0.0001": {**KEYPOINTS, "spline_smoothing": (1e-4,)},
    "motion: keypoints, lambda 0.0001 and 0.1": {**KEYPOINTS, "spline_smoothing": (1e-4, 1e-1)},
    "motion: keypoints, all examples": {**KEYPOINTS, "warp_all": True},
    "motion: keypoints and gaze": {**KEYPOINTS, "kind": "landmarks+iris", "semantic_channels": 8},
    "no warped example": {"warp_example": False},
    "Encoder": {"method": "encoder", "warp_example": False},
    "ConcatStyle": {"method": "concat", "warp_example": False},
    "AdaIN": {"method": "adain", "warp_example": False},
    "SPADE": {"method": "spade", "warp_example": False},
}


def train(config: TrainConfig, data: Dataset, perceptual: PerceptualDistance) -> Trainer:
    """The trainer after all steps of `config`."""
    trainer = Trainer(config, torch.device("cpu"), perceptual)
    batches = Prefetcher(data, config, 0, ProcessGroup())
    try:
        while trainer.step < config.steps:
            trainer.train_step(batches.next(), config.phase_at(trainer.step))
    finally:
        batches.close()
    return trainer


@torch.no_grad()
def measure(generator: FewShotGenerator | None, batches: list[Batch], perceptual: PerceptualDistance) -> tuple[float, float]:
    """(PSNR in dB, perceptual distance), means over all windows. Without a generator the first example is the result."""
    psnr, distances = [], []
    for batch in batches:
        result, driving = batch.examples.required_image[:, 0], batch.frame(0)
        if generator is not None:
            result = generator.synthesize(generator.encode_examples(batch.examples), driving).frame
        truth = driving.required_image
        psnr.append(10 * torch.log10(4 / (result - truth).square().mean((1, 2, 3))))
        distances.append(perceptual(result, truth))
    return torch.cat(psnr).mean().item(), torch.cat(distances).mean().item()


def draw_batches(data: Dataset, config: TrainConfig, count: int) -> list[Batch]:
    """A dozen batches, each with `count` examples, the same for every variant."""
    batches: list[Batch] = []
    step = 0
    while len(batches) < 12:
        batch = data.batch(replace(config, jitter=0.0, seed=1), step, Phase(1, batch=8))
        step += 1
        if batch.examples.required_image.shape[1] >= count:
            batches.append(replace(batch, examples=batch.examples.map(lambda x: x[:, :count])))
    return batches


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--side", type=int, default=SIDE, help="side of the images in pixels")
    parser.add_argument("--only", nargs="+", choices=VARIANTS, default=list(VARIANTS), metavar="VARIANT")
    arguments = parser.parse_args()
    perceptual = open_distance("squeezenet", torch.device("cpu"))
    assert perceptual is not None
    base = TrainConfig(generator=BASE, phases=(Phase(arguments.steps, batch=8, adversarial=False),), ema=0.99)
    rows: list[dict[str, float | str]] = []
    for name in arguments.only:
        config = replace(base, generator=replace(BASE, size=(arguments.side, arguments.side), **VARIANTS[name]))
        data, held_out = (Dataset(arguments.data, config.generator.kind, split) for split in ("train", "val"))
        batches = {count: draw_batches(held_out, config, count) for count in (1, 4)}
        trainer = train(config, data, perceptual)
        with trainer.averaged_generator() as generator:
            assert isinstance(generator, FewShotGenerator)
            rows.append(_row(name, {count: measure(generator, windows, perceptual) for count, windows in batches.items()}))
        print(rows[-1], flush=True)
    rows.append(_row("repeat the example", {count: measure(None, windows, perceptual) for count, windows in batches.items()}))
    report("variants", rows, {})


def _row(name: str, figures: dict[int, tuple[float, float]]) -> dict[str, float | str]:
    row: dict[str, float | str] = {"variant": name}
    for count, (psnr, distance) in figures.items():
        row |= {f"PSNR, K = {count}": psnr, f"perceptual, K = {count}": distance}
    return row


if __name__ == "__main__":
    main()
