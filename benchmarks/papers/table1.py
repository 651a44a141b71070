"""Table 1 of few-shot vid2vid: our network, the paper's three baselines, PoseWarp and MonkeyNet, from one example of a held-out person.

    python benchmarks/papers/table1.py --data data/actors --out out/papers [--quick] [--jobs 2] [--rows ours PoseWarp]
    python benchmarks/papers/table1.py --data data/actors --out out/papers --kind segment [--labeller-data data/others]

With poses, the table has all six methods and two variants of ours: "ours, no warped example" differs from the baselines in the generated
weights alone, and "ours, heat maps" is driven by heat maps of the joints, as PoseWarp and MonkeyNet are. With label maps (--kind segment),
it has the methods that need no joints. Every method has the same trainer, losses, steps, images and seeds.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import report
from commands import make_experiment, make_parser, run_script
from experiment import Variant, run
from sources import read_rows

OURS, OURS_UNWARPED, OURS_HEAT_MAPS = "ours", "ours, no warped example", "ours, heat maps"
OWN_BASELINES = ("Encoder", "ConcatStyle", "AdaIN")
"""The baselines that the authors of few-shot vid2vid made of their own network."""
NO_WARP = {"warp_example": False}
JOINT_FREE_METHODS = (
    Variant("Encoder", {"method": "encoder", **NO_WARP}),
    Variant("ConcatStyle", {"method": "concat", **NO_WARP}),
    Variant("AdaIN", {"method": "adain", **NO_WARP}),
    Variant(OURS_UNWARPED, NO_WARP),
    Variant(OURS),
)
"""The methods that need no joints."""
JOINT_METHODS = (Variant("PoseWarp", family="posewarp", joints=True), Variant("MonkeyNet", family="monkeynet", joints=True))
ROWS = {
    "poses": (*JOINT_FREE_METHODS[:3], *JOINT_METHODS, *JOINT_FREE_METHODS[3:], Variant(OURS_HEAT_MAPS, joints=True)),
    "segment": JOINT_FREE_METHODS,
}
"""Driving kind -> rows of the table."""
CLAIMED_TO_BEAT = {
    OURS: (*OWN_BASELINES, "PoseWarp", "MonkeyNet"),
    OURS_UNWARPED: OWN_BASELINES,
    OURS_HEAT_MAPS: (OURS, "PoseWarp", "MonkeyNet"),
}
"""For each row of ours, the methods that it is claimed to beat."""
METRICS = {
    "poses": ("pose-error-pixels", "pose-found", "fid-squeezenet", "psnr", "perceptual-squeezenet"),
    "segment": ("label-accuracy", "label-miou", "fid-squeezenet", "psnr", "perceptual-squeezenet"),
}
PAPER_RATIOS = {
    "poses": {"pose-error-pixels": 6.01 / 12.66, "fid-squeezenet": 80.44 / 140.87},
    "segment": {"label-accuracy": 0.831 / 0.756, "label-miou": 0.408 / 0.360, "fid-squeezenet": 144.24 / 154.33},
}
"""Ours relative to the best other method in the paper's table 1. The paper measures real people and streets, and uses
Inception features for FID."""


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--kind", choices=METRICS, default="poses", help="driving kind")
    parser.add_argument("--rows", nargs="+", choices=[row.name for row in ROWS["poses"]], metavar="NAME", help="only these rows")
    labeller_help = "clips on which the labelling network is trained; default: those on which the methods are trained"
    parser.add_argument("--labeller-data", type=Path, help=labeller_help)
    arguments = parser.parse_args()
    labeller_rows = tuple(read_rows(arguments.labeller_data)) if arguments.labeller_data else ()
    experiment = replace(make_experiment(arguments, arguments.kind, METRICS[arguments.kind]), labeller_rows=labeller_rows)
    variants = [variant for variant in ROWS[arguments.kind] if not arguments.rows or variant.name in arguments.rows]
    if not variants:
        parser.error("these methods need joints and cannot be driven by label maps")
    figures = run(experiment, variants, arguments.jobs)
    claims = [
        report.Claim(metric, row.name, CLAIMED_TO_BEAT[row.name], PAPER_RATIOS[arguments.kind].get(metric) if row.name == OURS else None)
        for row in variants
        if row.name in CLAIMED_TO_BEAT
        for metric in experiment.metrics
    ]
    print(report.write_report(experiment, "table1", f"Few-shot vid2vid, table 1: {arguments.kind}", figures, claims))
    report.write_frame_sheet(experiment, variants, experiment.out / "table1-frames.png")


if __name__ == "__main__":
    run_script(main)
