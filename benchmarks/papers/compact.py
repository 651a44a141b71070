"""Tables 1 and 2 of adaptive compact attention: pixel-wise attention, compact attention, and compact attention with selected references.

    python benchmarks/papers/compact.py --data data/actors --out out/papers [--quick] [--jobs 2]

Both models are trained with up to four examples. The first two rows use four evenly spaced examples. The third row selects three of sixteen
for each frame by triangulation (section 3.2). Table 2 has the seconds of a training step with K examples, measured on the same batches.
"""

from __future__ import annotations

import time
from statistics import median

import report
from commands import make_experiment, make_parser, run_script
from experiment import Experiment, Variant, run
from figure7 import UP_TO_FOUR

from stages.compute.devices import choose_device
from stages.models.perceptual import open_distance
from stages.train.data import Dataset
from stages.train.trainer import Trainer

METRICS = ("fid-squeezenet", "fvd-squeezenet", "psnr", "pose-error-pixels", "pose-found", "perceptual-squeezenet", "warping-error")
CANDIDATES = 16
FOUR_EXAMPLES = {"num_examples": 4}
TRAINING = {"max_examples": 4}
PIXEL = Variant("few-shot vid2vid (pixel-wise)", training=TRAINING, synthesis=FOUR_EXAMPLES, model=UP_TO_FOUR)
COMPACT = Variant("compact", {"attention": "compact"}, TRAINING, synthesis=FOUR_EXAMPLES)
SELECTED = Variant(
    "compact, references selected",
    COMPACT.network,
    TRAINING,
    synthesis={"num_examples": CANDIDATES, "select": "delaunay"},
    model=COMPACT.name,
)
PAPER_RATIOS = {"fid-squeezenet": 64.40 / 72.90, "psnr": 18.88 / 17.92, "fvd-squeezenet": 15.36 / 16.34}
"""Compact relative to pixel-wise attention in the paper's table 1, which shows faces and uses other features for FID and FVD."""
PAPER_RATIOS_SELECTED = {"fid-squeezenet": 52.63 / 64.40, "psnr": 19.16 / 18.88}
FVD_CLAIM = report.Claim("fvd-squeezenet", COMPACT.name, (SELECTED.name,), 15.36 / 18.03)
"""Selected references change from frame to frame; in the paper this makes FVD worse."""
TIMED = (1, 4, 8)
"""Numbers of examples for which a training step is timed."""


def main() -> None:
    arguments = make_parser(__doc__).parse_args()
    experiment = make_experiment(arguments, "poses", METRICS, CANDIDATES)
    variants = [PIXEL, COMPACT, SELECTED]
    figures = run(experiment, variants, arguments.jobs)
    claims = [report.Claim(metric, COMPACT.name, (PIXEL.name,), PAPER_RATIOS.get(metric)) for metric in METRICS]
    others = [metric for metric in METRICS if metric != FVD_CLAIM.metric]
    claims += [FVD_CLAIM, *(report.Claim(metric, SELECTED.name, (COMPACT.name,), PAPER_RATIOS_SELECTED.get(metric)) for metric in others)]
    seconds = {variant.name: time_steps(experiment, variant, 2 if arguments.quick else 7) for variant in (PIXEL, COMPACT)}
    second_table = "Table 2, seconds of a training step (median; in the paper 0.284 and 0.240 for faces):\n\n" + _times(seconds)
    settings = {"seconds_per_step": seconds}
    print(report.write_report(experiment, "compact", "Adaptive compact attention, tables 1 and 2", figures, claims, second_table, settings))
    report.write_frame_sheet(experiment, variants, experiment.out / "compact-frames.png")


def time_steps(experiment: Experiment, variant: Variant, steps: int) -> dict[int, float]:
    """Seconds of a training step of the longest phase for each number of examples in `TIMED`: median of `steps` after a warm-up."""
    config = experiment.config(variant, 0)
    device, data = choose_device(experiment.device), Dataset(experiment.data(variant), config.generator.kind, "train")
    phase, medians = max(config.phases, key=lambda phase: phase.steps), {}
    for examples in TIMED:
        trainer = Trainer(config, device, open_distance(config.perceptual, device))
        batches = [data.batch(config, step, phase, examples=examples).to(device) for step in range(1 + steps)]
        seconds = []
        for batch in batches:
            start = time.perf_counter()
            trainer.train_step(batch, phase)  # it reads its loss terms at the end, so the device has finished
            seconds.append(time.perf_counter() - start)
        medians[examples] = median(seconds[1:])
    return medians


def _times(seconds: dict[str, dict[int, float]]) -> str:
    lines = [f"| | {' | '.join(f'K = {count}' for count in TIMED)} |", "| --- |" + " --- |" * len(TIMED)]
    lines += [f"| {name} | {' | '.join(f'{value:.3f}' for value in row.values())} |" for name, row in seconds.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    run_script(main)
