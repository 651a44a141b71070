"""Figure 7 of few-shot vid2vid: (a) more subjects to train on, (b) more examples of the held-out person, (c) what is attended to.

    python benchmarks/papers/figure7.py --data data/actors --out out/papers [--part a b c] [--quick] [--jobs 2]

a: models that were trained on an eighth, a quarter, half and all of the subjects, the same steps each; K = 1. b: one model that was trained
with up to four examples, asked with 1, 2, 4 and 8. c: images of that model's attention. The claims: (a) the most subjects beat the
fewest, (b) the most examples beat one.
"""

from __future__ import annotations

import attending
import report
from commands import experiment, parser, sentences
from experiment import Experiment, Variant, run
from sources import subjects_of

METRICS = ("pose-error-pixels", "pose-found", "fid-squeezenet", "psnr", "perceptual-squeezenet")
EXAMPLES = (1, 2, 4, 8)
MANY = "ours, up to 4 examples"
"""The model of b and c, and of compact.py."""


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--part", nargs="+", choices="abc", default=list("abc"))
    given = options.parse_args()
    alone, several = (experiment(given, "poses", METRICS, examples) for examples in (1, max(EXAMPLES)))
    if "a" in given.part:
        more_subjects(alone, given.jobs)
    if "b" in given.part:
        more_examples(several, given.jobs)
    if "c" in given.part:
        attending.images(several, asked(4), several.out / "figure7c.png")


def more_subjects(bench: Experiment, jobs: int) -> None:
    """Figure 7a; the largest set is all there are, and its model that of table 1."""
    whole = len(subjects_of(bench.chosen, "train"))
    counts = sorted({max(1, whole // share) for share in (8, 4, 2, 1)})
    variants = [Variant(f"{n} subjects", subjects=n) if n < whole else Variant(f"{n} subjects", model="ours") for n in counts]
    figures = run(bench, variants, jobs)
    claims = [report.Claim(metric, variants[-1].name, (variants[0].name,)) for metric in METRICS]
    plot = report.lines(dict(zip((variant.name for variant in variants), counts, strict=True)), "subjects trained on")
    print(report.write(bench, "figure7a", "Few-shot vid2vid, figure 7a: more subjects to train on", figures, claims, plot=plot))
    report.sheet(bench, variants, bench.out / "figure7a-frames.png")


def more_examples(bench: Experiment, jobs: int) -> None:
    """Figure 7b."""
    variants = [asked(count) for count in EXAMPLES]
    figures = run(bench, variants, jobs)
    claims = [report.Claim(metric, variants[-1].name, (variants[0].name,)) for metric in METRICS]
    plot = report.lines({asked(count).name: count for count in EXAMPLES}, "examples K")
    print(report.write(bench, "figure7b", "Few-shot vid2vid, figure 7b: more examples at test time", figures, claims, plot=plot))
    report.sheet(bench, variants, bench.out / "figure7b-frames.png")


def asked(count: int) -> Variant:
    """The model of several examples, asked with so many."""
    return Variant(f"K = {count}", training={"max_examples": 4}, asked={"num_examples": count}, model=MANY)


if __name__ == "__main__":
    sentences(main)
