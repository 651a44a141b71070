"""Figure 7 of few-shot vid2vid: (a) more training subjects, (b) more examples of the held-out person, (c) images of attention.

    python benchmarks/papers/figure7.py --data data/actors --out out/papers [--part a b c] [--quick] [--jobs 2]

a: models trained on an eighth, a quarter, half and all of the subjects, with the same number of steps; K = 1. b: one model, trained with up
to four examples, makes videos from 1, 2, 4 and 8 examples. c: images of this model's attention. Claims: (a) all subjects beat the fewest,
(b) eight examples beat one.
"""

from __future__ import annotations

import attention_images
import report
from commands import make_experiment, make_parser, run_script
from experiment import Experiment, Variant, run
from sources import subjects_of

METRICS = ("pose-error-pixels", "pose-found", "fid-squeezenet", "psnr", "perceptual-squeezenet")
EXAMPLES = (1, 2, 4, 8)
UP_TO_FOUR = "ours, up to 4 examples"
"""The name of the model of b and c; compact.py uses it, too."""


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--part", nargs="+", choices="abc", default=list("abc"))
    arguments = parser.parse_args()
    one, several = (make_experiment(arguments, "poses", METRICS, examples) for examples in (1, max(EXAMPLES)))
    if "a" in arguments.part:
        more_subjects(one, arguments.jobs)
    if "b" in arguments.part:
        more_examples(several, arguments.jobs)
    if "c" in arguments.part:
        attention_images.write_images(several, with_examples(4), several.out / "figure7c.png")


def more_subjects(experiment: Experiment, jobs: int) -> None:
    """Figure 7a. The model trained on all subjects is that of table 1."""
    total = len(subjects_of(experiment.selected_rows, "train"))
    counts = sorted({max(1, total // share) for share in (8, 4, 2, 1)})
    variants = [Variant(f"{n} subjects", subjects=n) if n < total else Variant(f"{n} subjects", model="ours") for n in counts]
    figures = run(experiment, variants, jobs)
    claims = [report.Claim(metric, variants[-1].name, (variants[0].name,)) for metric in METRICS]
    plot = report.line_plot(dict(zip((variant.name for variant in variants), counts, strict=True)), "training subjects")
    print(report.write_report(experiment, "figure7a", "Few-shot vid2vid, figure 7a: more subjects to train on", figures, claims, plot=plot))
    report.write_frame_sheet(experiment, variants, experiment.out / "figure7a-frames.png")


def more_examples(experiment: Experiment, jobs: int) -> None:
    """Figure 7b."""
    variants = [with_examples(count) for count in EXAMPLES]
    figures = run(experiment, variants, jobs)
    claims = [report.Claim(metric, variants[-1].name, (variants[0].name,)) for metric in METRICS]
    plot = report.line_plot({with_examples(count).name: count for count in EXAMPLES}, "examples K")
    print(
        report.write_report(experiment, "figure7b", "Few-shot vid2vid, figure 7b: more examples at test time", figures, claims, plot=plot)
    )
    report.write_frame_sheet(experiment, variants, experiment.out / "figure7b-frames.png")


def with_examples(count: int) -> Variant:
    """The model of b, with `count` examples."""
    return Variant(f"K = {count}", training={"max_examples": 4}, synthesis={"num_examples": count}, model=UP_TO_FOUR)


if __name__ == "__main__":
    run_script(main)
