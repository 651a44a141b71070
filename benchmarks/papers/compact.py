"""Tables 1 and 2 of adaptive compact attention: pixel-wise attention, compact attention, and compact attention with selected references.

    python benchmarks/papers/compact.py --data data/actors --out out/papers [--quick] [--jobs 2]

Both models are trained with up to four examples. The first two are asked with four, evenly spaced; the third selects three of sixteen for
each frame by the triangulation (section 3.2). Table 2: seconds of a training step at K examples, each step with the same batches.
"""

from __future__ import annotations

import time
from statistics import median

import report
from commands import experiment, parser, sentences
from experiment import Experiment, Variant, run
from figure7 import MANY

from stages.compute.devices import choose_device
from stages.models.perceptual import open_distance
from stages.train.data import Dataset
from stages.train.trainer import Trainer

METRICS = ("fid-squeezenet", "fvd-squeezenet", "psnr", "pose-error-pixels", "pose-found", "perceptual-squeezenet", "warping-error")
CANDIDATES, FOUR = 16, {"num_examples": 4}
TRAINING = {"max_examples": 4}
PIXEL = Variant("few-shot vid2vid (pixel-wise)", training=TRAINING, asked=FOUR, model=MANY)
COMPACT = Variant("compact", {"attention": "compact"}, TRAINING, asked=FOUR)
SELECTED = Variant(
    "compact, references selected", COMPACT.network, TRAINING, asked={"num_examples": CANDIDATES, "select": "delaunay"}, model=COMPACT.name
)
PAPER = {"fid-squeezenet": 64.40 / 72.90, "psnr": 18.88 / 17.92, "fvd-squeezenet": 15.36 / 16.34}
"""Compact to pixel-wise in the paper's table 1; its FID and FVD are of other features, its videos of faces."""
PAPER_SELECTED = {"fid-squeezenet": 52.63 / 64.40, "psnr": 19.16 / 18.88}
STEADIER = report.Claim("fvd-squeezenet", COMPACT.name, (SELECTED.name,), 15.36 / 18.03)
"""Selection changes the references from frame to frame, and the paper says what that costs."""
TIMED = (1, 4, 8)


def main() -> None:
    given = parser(__doc__).parse_args()
    bench = experiment(given, "poses", METRICS, CANDIDATES)
    variants = [PIXEL, COMPACT, SELECTED]
    figures = run(bench, variants, given.jobs)
    claims = [report.Claim(metric, COMPACT.name, (PIXEL.name,), PAPER.get(metric)) for metric in METRICS]
    others = [metric for metric in METRICS if metric != STEADIER.metric]
    claims += [STEADIER, *(report.Claim(metric, SELECTED.name, (COMPACT.name,), PAPER_SELECTED.get(metric)) for metric in others)]
    seconds = {variant.name: timed(bench, variant, 2 if given.quick else 7) for variant in (PIXEL, COMPACT)}
    more = "Table 2, seconds of a training step (median; in the paper 0.284 and 0.240 for faces):\n\n" + _times(seconds)
    settings = {"seconds_per_step": seconds}
    print(report.write(bench, "compact", "Adaptive compact attention, tables 1 and 2", figures, claims, more, settings))
    report.sheet(bench, variants, bench.out / "compact-frames.png")


def timed(bench: Experiment, variant: Variant, steps: int) -> dict[int, float]:
    """Seconds of a step of the longest phase at each of `TIMED` examples: the median of so many, after one that is not counted."""
    config = bench.config(variant, 0)
    device, data = choose_device(bench.device), Dataset(bench.data(variant), config.generator.kind, "train")
    phase, found = max(config.phases, key=lambda phase: phase.steps), {}
    for examples in TIMED:
        trainer = Trainer(config, device, open_distance(config.perceptual, device))
        batches = [data.batch(config, step, phase, examples=examples).to(device) for step in range(1 + steps)]
        taken = []
        for batch in batches:
            begun = time.perf_counter()
            trainer.train_step(batch, phase)  # its terms are read at the end, so nothing of it is left to be done
            taken.append(time.perf_counter() - begun)
        found[examples] = median(taken[1:])
    return found


def _times(seconds: dict[str, dict[int, float]]) -> str:
    lines = [f"| | {' | '.join(f'K = {count}' for count in TIMED)} |", "| --- |" + " --- |" * len(TIMED)]
    lines += [f"| {name} | {' | '.join(f'{value:.3f}' for value in row.values())} |" for name, row in seconds.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    sentences(main)
