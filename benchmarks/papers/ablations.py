"""The ablations of vid2vid's table 2 that exist here: no video discriminator, no flow warping.

    python benchmarks/papers/ablations.py --data data/actors --out out/papers [--kind segment] [--quick] [--jobs 2]

The paper asked people, and of its 100 pairs they preferred the whole method by 0.84 and 0.67; what is measured here is how frames look and
how they follow one another. Few-shot vid2vid has no foreground-background prior; vid2vid_tables.py leaves out that of vid2vid.
"""

from __future__ import annotations

import report
from commands import experiment, parser, sentences
from experiment import Variant, run

from stages.networks.common.objective import DiscriminatorConfig, LossWeights

OURS = Variant("ours")
ABLATIONS = (
    Variant("no video discriminator", training={"discriminators": DiscriminatorConfig(video_rates=0), "losses": LossWeights(video_gan=0)}),
    Variant("no flow warping", family="no-flow-warping"),
)
LOOKS = ("warping-error", "fvd-squeezenet", "fid-squeezenet", "psnr", "perceptual-squeezenet")
METRICS = {"poses": (*LOOKS, "pose-error-pixels", "pose-found"), "segment": (*LOOKS, "label-accuracy", "label-miou")}


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--kind", choices=METRICS, default="poses", help="what drives")
    given = options.parse_args()
    bench = experiment(given, given.kind, METRICS[given.kind])
    variants = [OURS, *ABLATIONS]
    figures = run(bench, variants, given.jobs)
    claims = [report.Claim(metric, OURS.name, (variant.name,)) for variant in ABLATIONS for metric in bench.metrics]
    print(report.write(bench, "ablations", f"vid2vid, table 2: {given.kind}", figures, claims))
    report.sheet(bench, variants, bench.out / "ablations-frames.png")


if __name__ == "__main__":
    sentences(main)
