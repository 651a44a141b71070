"""Tables 1 to 3 of vid2vid, on rendered streets: comparison with pix2pixHD and COVST, ablations, and predicted frames.

    python benchmarks/papers/drives.py --clips 120 --frames 40 --size 256x128 --no-flow --no-depth --out data/streets --jobs 2
    python benchmarks/papers/vid2vid_tables.py --data data/streets --out out/papers [--table 1 2 3] [--scale tiny] [--jobs 2]

Table 1: videos from label maps. COVST starts from the trained pix2pixHD of the same seed and is given the flow of the real video, as in the
paper. Table 2: vid2vid without one of its parts. Table 3: a few real frames are observed, and the frames after them are predicted. PredNet
and MCNet predict frames. vid2vid continues the real frames, driven by one of three kinds of label maps: those predicted by a network that
is trained on the same clips (the paper's method), the last observed one repeated, or the true ones. Towns are held out as a whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import report
from commands import make_experiment, make_parser, run_script
from experiment import Experiment, MakeDriving, Variant, run
from vid2vid_scales import SCALES, SETUPS, ScaleSetup

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
PAPER_RATIOS = {
    (1, OURS): {"video-fid-i3d": 4.66 / 5.55, "video-fid-resnext": 0.15 / 0.18},
    (3, PREDICTED): {"video-fid-i3d": 3.44 / 10.00, "video-fid-resnext": 0.18 / 0.43},
}
"""Ours relative to the best other method in the paper, whose streets are real."""
TITLES = {1: "vid2vid, table 1: videos from label maps", 2: "vid2vid, table 2: ablations", 3: "vid2vid, table 3: predicted frames"}


def variants_of(table: int, setup: ScaleSetup) -> list[Variant]:
    """The rows of a table."""
    ours = Variant(OURS, training=setup.own_training())
    if table == 1:
        hd = Variant(PIX2PIXHD, training=setup.own_training(phases=setup.pix2pixhd_phases), base=setup.pix2pixhd)
        training = setup.baseline_training(setup.covst_phases)
        covst = Variant(COVST, training=training, base=setup.pix2pixhd, family="covst", kind="segment+flow", start=hd)
        return [hd, covst, ours]
    if table == 2:
        discriminators: DiscriminatorConfig = replace(ours.training["discriminators"], video_rates=0)
        losses = replace(ours.training["losses"], video_gan=0)
        return [
            ours,
            replace(ours, name=NO_PRIOR, network={"foreground": ()}),
            replace(ours, name=NO_VIDEO, training={**ours.training, "discriminators": discriminators, "losses": losses}),
            replace(ours, name=NO_FLOW, network={"motion": False}),
        ]
    predictors = {
        PREDNET: (setup.prednet, setup.baseline_training(setup.prednet_phases, learning_rate=1e-3)),
        MCNET: (setup.mcnet, setup.baseline_training(setup.mcnet_phases, real_past=1.0, **setup.mcnet_adversary())),
    }
    return [
        *(Variant(name, training=training, base=base, continues=True) for name, (base, training) in predictors.items()),
        *(replace(ours, name=name, model=OURS, continues=True, make_driving=drive) for name, drive in LABEL_DRIVERS.items()),
        replace(
            ours,
            name=PREDICTED,
            model=OURS,
            continues=True,
            label_predictor=Variant(FUTURE, training=setup.label_training(), base=setup.future),
        ),
    ]


def repeat_last_labels(observed: Clip, reference: Clip, out: Path) -> Clip:
    """A clip as long as `reference` that repeats the last observed label map."""
    if not out.exists():
        create_clip(out, fps=reference.fps, width=reference.width, height=reference.height, num_frames=reference.num_frames)
    clip = open_clip(out)
    if clip.has("segment"):
        return clip
    source = observed.layer("segment")
    meta: dict[str, Any] = {name: source.meta[name] for name in ("table", "names", "palette", "ids") if name in source.meta}
    with clip.writing("segment", Producer("last-labels"), {"segment": source.digest}, meta) as layer:
        for _ in range(reference.num_frames):
            layer.image(source.image(observed.num_frames - 1))
    return open_clip(out)


LABEL_DRIVERS: Mapping[str, MakeDriving | None] = {"vid2vid, labels repeated": repeat_last_labels, "vid2vid, true labels": None}
"""Rows of table 3 that are driven by given label maps: the function that makes them from the observed frames; None: the true label maps.

The method of the paper is the row `PREDICTED`, which is driven by predicted label maps.
"""
CLAIMS: Mapping[int, Mapping[str, Sequence[tuple[str, ...]]]] = {
    1: {OURS: [(PIX2PIXHD, COVST)]},
    2: {OURS: [(NO_PRIOR,), (NO_VIDEO,), (NO_FLOW,)]},
    3: {name: [(PREDNET, MCNET)] for name in (*LABEL_DRIVERS, PREDICTED)},
}
"""For each row the methods that it is claimed to beat; each tuple is one claim."""


def make_table(table: int, experiment: Experiment, setup: ScaleSetup, chosen: Sequence[str] | None, jobs: int) -> None:
    """Train, evaluate and report one table, and table 3 also for the last frames alone."""
    variants = [variant for variant in variants_of(table, setup) if not chosen or variant.name in chosen]
    if not variants:
        return
    experiment = replace(experiment, metrics=METRICS[table], adjacent=table == 3, examples=setup.observed if table == 3 else 1)
    parts = [(experiment, f"vid2vid-table{table}", TITLES[table])]
    if table == 3:
        parts.append((replace(experiment, last=setup.last), "vid2vid-table3-last", f"{TITLES[3]}, the last {setup.last} alone"))
    for part, name, title in parts:
        figures = run(part, variants, jobs)
        claims = [
            report.Claim(metric, method, others, PAPER_RATIOS.get((table, method), {}).get(metric))
            for method, claimed in CLAIMS[table].items()
            for others in claimed
            for metric in METRICS[table]
        ]
        print(report.write_report(part, name, title, figures, claims))
    report.write_time_sheet(experiment, variants, experiment.out / f"vid2vid-table{table}-frames.png")


def main() -> None:
    parser = make_parser(__doc__, SCALES)
    parser.add_argument("--table", nargs="+", type=int, choices=TITLES, default=list(TITLES))
    names = {variant.name for table in TITLES for variant in variants_of(table, SETUPS["tiny"])}
    parser.add_argument("--rows", nargs="+", choices=sorted(names), metavar="NAME", help="only these rows")
    arguments = parser.parse_args()
    for table in arguments.table:
        make_table(
            table,
            make_experiment(arguments, "segment", METRICS[table], scales=SCALES),
            SETUPS[arguments.scale],
            arguments.rows,
            arguments.jobs,
        )


if __name__ == "__main__":
    run_script(main)
