"""Two ablations of vid2vid's table 2 with few-shot vid2vid: no video discriminator, no flow warping.

    python benchmarks/papers/ablations.py --data data/actors --out out/papers [--kind segment] [--quick] [--jobs 2]

In the paper, people compared 100 pairs of videos and preferred the whole method in 84 % and 67 % of them. Here, metrics of single frames
and of their sequence are measured. Few-shot vid2vid has no foreground-background prior; vid2vid_tables.py has the ablation without it.
"""

from __future__ import annotations

import report
from commands import make_experiment, make_parser, run_script
from experiment import Variant, run

from stages.networks.common.objective import DiscriminatorConfig, LossWeights

OURS = Variant("ours")
ABLATIONS = (
    Variant("no video discriminator", training={"discriminators": DiscriminatorConfig(video_rates=0), "losses": LossWeights(video_gan=0)}),
    Variant("no flow warping", family="no-flow-warping"),
)
IMAGE_METRICS = ("warping-error", "fvd-squeezenet", "fid-squeezenet", "psnr", "perceptual-squeezenet")
METRICS = {"poses": (*IMAGE_METRICS, "pose-error-pixels", "pose-found"), "segment": (*IMAGE_METRICS, "label-accuracy", "label-miou")}


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--kind", choices=METRICS, default="poses", help="driving kind")
    arguments = parser.parse_args()
    experiment = make_experiment(arguments, arguments.kind, METRICS[arguments.kind])
    variants = [OURS, *ABLATIONS]
    figures = run(experiment, variants, arguments.jobs)
    claims = [report.Claim(metric, OURS.name, (variant.name,)) for variant in ABLATIONS for metric in experiment.metrics]
    print(report.write_report(experiment, "ablations", f"vid2vid, table 2: {arguments.kind}", figures, claims))
    report.write_frame_sheet(experiment, variants, experiment.out / "ablations-frames.png")


if __name__ == "__main__":
    run_script(main)
