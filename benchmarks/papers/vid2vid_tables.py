"""Tables 1 to 3 of vid2vid, on drawn streets: ours against pix2pixHD and COVST, against itself without its parts, and predicted futures.

    python benchmarks/papers/drives.py --clips 120 --frames 40 --size 256x128 --no-flow --no-depth --out data/streets --jobs 2
    python benchmarks/papers/vid2vid_tables.py --data data/streets --out out/papers [--table 1 2 3] [--scale tiny] [--jobs 2]

Table 1: videos from label maps alone. COVST starts from the trained pix2pixHD of the same seed and is given the flow of the real video, as
in the paper. Table 2: vid2vid without one of its parts. Table 3: a few real frames are observed and those after them predicted. PredNet and
MCNet predict frames; vid2vid continues the real frames, driven by label maps: those that a network trained on the same clips predicts (the
paper's method), the last one that was observed, or the true ones.
Each whole town is either for training or held out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import report
from commands import experiment, parser, sentences
from experiment import Drive, Experiment, Variant, run
from vid2vid_scales import SCALES, SIZES, Sizes

from stages.clip import Clip, Producer, create_clip, open_clip
from stages.networks.common.objective import DiscriminatorConfig

OURS, PIX2PIXHD, COVST = "vid2vid", "pix2pixHD", "COVST"
NO_PRIOR, NO_VIDEO, NO_FLOW = "no foreground prior", "no video discriminator", "no flow warping"
PREDNET, MCNET, PREDICTED, FUTURE = "PredNet", "MCNet", "vid2vid, predicted labels", "predicted labels"
VIDEO = ("video-fid-i3d", "video-fid-resnext", "fvd-squeezenet")
METRICS = {
    1: (*VIDEO, "warping-error", "fid-squeezenet", "perceptual-squeezenet", "psnr"),
    2: (*VIDEO, "warping-error", "fid-squeezenet", "perceptual-squeezenet", "psnr"),
    3: (*VIDEO, "fid-squeezenet", "perceptual-squeezenet", "psnr"),
}
PAPER = {
    (1, OURS): {"video-fid-i3d": 4.66 / 5.55, "video-fid-resnext": 0.15 / 0.18},
    (3, PREDICTED): {"video-fid-i3d": 3.44 / 10.00, "video-fid-resnext": 0.18 / 0.43},
}
"""Ours to the best other in the paper; its streets are real."""
TITLES = {1: "vid2vid, table 1: videos from label maps", 2: "vid2vid, table 2: ablations", 3: "vid2vid, table 3: predicted frames"}


def rows(table: int, sizes: Sizes) -> list[Variant]:
    """The methods of a table."""
    ours = Variant(OURS, training=sizes.ours())
    if table == 1:
        hd = Variant(PIX2PIXHD, training=sizes.ours(phases=sizes.single), base=sizes.pix2pixhd)
        learnt = sizes.theirs(sizes.covst)
        covst = Variant(COVST, training=learnt, base=sizes.pix2pixhd, family="covst", kind="segment+flow", start=hd)
        return [hd, covst, ours]
    if table == 2:
        judges: DiscriminatorConfig = replace(ours.training["discriminators"], video_rates=0)
        losses = replace(ours.training["losses"], video_gan=0)
        return [
            ours,
            replace(ours, name=NO_PRIOR, network={"foreground": ()}),
            replace(ours, name=NO_VIDEO, training={**ours.training, "discriminators": judges, "losses": losses}),
            replace(ours, name=NO_FLOW, network={"motion": False}),
        ]
    learnt = {
        PREDNET: (sizes.prednet, sizes.theirs(sizes.prednet_phases, learning_rate=1e-3)),
        MCNET: (sizes.mcnet, sizes.theirs(sizes.mcnet_phases, real_past=1.0, **sizes.adversary())),
    }
    return [
        *(Variant(name, training=training, base=base, continues=True) for name, (base, training) in learnt.items()),
        *(replace(ours, name=name, model=OURS, continues=True, drive=drive) for name, drive in LABELS.items()),
        replace(ours, name=PREDICTED, model=OURS, continues=True, future=Variant(FUTURE, training=sizes.labels(), base=sizes.future)),
    ]


def last_labels(observed: Clip, judged: Clip, out: Path) -> Clip:
    """A clip as long as `judged` whose label map is always the last one that was observed."""
    if not out.exists():
        create_clip(out, fps=judged.fps, width=judged.width, height=judged.height, num_frames=judged.num_frames)
    clip = open_clip(out)
    if clip.has("segment"):
        return clip
    source = observed.layer("segment")
    meta: dict[str, Any] = {name: source.meta[name] for name in ("table", "names", "palette", "ids") if name in source.meta}
    with clip.writing("segment", Producer("last-labels"), {"segment": source.digest}, meta) as layer:
        for _ in range(judged.num_frames):
            layer.image(source.image(observed.num_frames - 1))
    return open_clip(out)


LABELS: Mapping[str, Drive | None] = {"vid2vid, labels repeated": last_labels, "vid2vid, true labels": None}
"""The rows of table 3 that are driven by label maps, and what makes these of the observed frames; None: they are the true ones.

The whole method of the paper is the row `PREDICTED`, driven by predicted label maps.
"""
CLAIMS: Mapping[int, Mapping[str, Sequence[tuple[str, ...]]]] = {
    1: {OURS: [(PIX2PIXHD, COVST)]},
    2: {OURS: [(NO_PRIOR,), (NO_VIDEO,), (NO_FLOW,)]},
    3: {name: [(PREDNET, MCNET)] for name in (*LABELS, PREDICTED)},
}
"""What ours is said to be better than, one claim for each tuple."""


def make(table: int, bench: Experiment, sizes: Sizes, chosen: Sequence[str] | None, jobs: int) -> None:
    """Train, judge and report one table; of table 3 also the last frames alone."""
    variants = [variant for variant in rows(table, sizes) if not chosen or variant.name in chosen]
    if not variants:
        return
    bench = replace(bench, metrics=METRICS[table], adjacent=table == 3, examples=sizes.observed if table == 3 else 1)
    parts = [(bench, f"vid2vid-table{table}", TITLES[table])]
    if table == 3:
        parts.append((replace(bench, last=sizes.last), "vid2vid-table3-last", f"{TITLES[3]}, the last {sizes.last} alone"))
    for part, name, title in parts:
        figures = run(part, variants, jobs)
        claims = [
            report.Claim(metric, ours, others, PAPER.get((table, ours), {}).get(metric))
            for ours, each in CLAIMS[table].items()
            for others in each
            for metric in METRICS[table]
        ]
        print(report.write(part, name, title, figures, claims))
    report.over_time(bench, variants, bench.out / f"vid2vid-table{table}-frames.png")


def main() -> None:
    options = parser(__doc__, SCALES)
    options.add_argument("--table", nargs="+", type=int, choices=TITLES, default=list(TITLES))
    names = {variant.name for table in TITLES for variant in rows(table, SIZES["tiny"])}
    options.add_argument("--rows", nargs="+", choices=sorted(names), metavar="NAME", help="these methods only")
    given = options.parse_args()
    for table in given.table:
        make(table, experiment(given, "segment", METRICS[table], scales=SCALES), SIZES[given.scale], given.rows, given.jobs)


if __name__ == "__main__":
    sentences(main)
