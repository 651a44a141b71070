"""Table 1 of few-shot vid2vid: ours against its three baselines, PoseWarp and MonkeyNet, from one example of people never seen.

    python benchmarks/papers/table1.py --data data/actors --out out/papers [--quick] [--jobs 2] [--rows ours PoseWarp]
    python benchmarks/papers/table1.py --data data/actors --out out/papers --kind segment [--teachers data/others]

With poses all six methods; "ours, no warped example", which has the generated weights alone in common with the paper's claim against the
baselines; and "ours, heat maps", which is driven by what drives PoseWarp and MonkeyNet. With label maps (--kind segment) those that know no
joints. Every method has the same trainer, losses, steps, images and seeds.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import report
from commands import experiment, parser, sentences
from experiment import Variant, run
from sources import rows_of

OURS, STILL_OURS, TOLD_JOINTS = "ours", "ours, no warped example", "ours, heat maps"
BASELINES = ("Encoder", "ConcatStyle", "AdaIN")
STILL = {"warp_example": False}
COMMON = (
    Variant("Encoder", {"method": "encoder", **STILL}),
    Variant("ConcatStyle", {"method": "concat", **STILL}),
    Variant("AdaIN", {"method": "adain", **STILL}),
    Variant(STILL_OURS, STILL),
    Variant(OURS),
)
OF_JOINTS = (Variant("PoseWarp", family="posewarp", joints=True), Variant("MonkeyNet", family="monkeynet", joints=True))
ROWS = {"poses": (*COMMON[:3], *OF_JOINTS, *COMMON[3:], Variant(TOLD_JOINTS, joints=True)), "segment": COMMON}
CLAIMED = {OURS: (*BASELINES, "PoseWarp", "MonkeyNet"), STILL_OURS: BASELINES, TOLD_JOINTS: (OURS, "PoseWarp", "MonkeyNet")}
"""What each row of ours is said to be better than."""
METRICS = {
    "poses": ("pose-error-pixels", "pose-found", "fid-squeezenet", "psnr", "perceptual-squeezenet"),
    "segment": ("label-accuracy", "label-miou", "fid-squeezenet", "psnr", "perceptual-squeezenet"),
}
PAPER = {
    "poses": {"pose-error-pixels": 6.01 / 12.66, "fid-squeezenet": 80.44 / 140.87},
    "segment": {"label-accuracy": 0.831 / 0.756, "label-miou": 0.408 / 0.360, "fid-squeezenet": 144.24 / 154.33},
}
"""Ours to the best other in the paper's table 1; its FID is of Inception features, its people and streets are real."""


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--kind", choices=METRICS, default="poses", help="what drives")
    options.add_argument("--rows", nargs="+", choices=[row.name for row in ROWS["poses"]], metavar="NAME", help="these methods only")
    options.add_argument("--teachers", type=Path, help="data that the network that finds labels learns from; default: as methods do")
    given = options.parse_args()
    teachers = tuple(rows_of(given.teachers)) if given.teachers else ()
    bench = replace(experiment(given, given.kind, METRICS[given.kind]), teachers=teachers)
    variants = [variant for variant in ROWS[given.kind] if not given.rows or variant.name in given.rows]
    if not variants:
        options.error("these methods know joints only: they cannot be driven by label maps")
    figures = run(bench, variants, given.jobs)
    claims = [
        report.Claim(metric, row.name, CLAIMED[row.name], PAPER[given.kind].get(metric) if row.name == OURS else None)
        for row in variants
        if row.name in CLAIMED
        for metric in bench.metrics
    ]
    print(report.write(bench, "table1", f"Few-shot vid2vid, table 1: {given.kind}", figures, claims))
    report.sheet(bench, variants, bench.out / "table1-frames.png")


if __name__ == "__main__":
    sentences(main)
