"""Self-reenactment of the persons that a dataset holds out: how far a model generalises.

    python benchmarks/held_out.py --data data/faces --out out/held-out [--model MODEL] [--frames 150] [--jobs 2]

For every clip of the split "val" the first frame is the one example (K = 1) and the clip's own landmarks drive. Each figure stands beside
that of the trivial baseline "repeat the example"; means are over clips of a person, then over persons. What it runs are the commands
themselves: synthesize, then evaluate. The table is Markdown, as in the model card; results.json holds every figure.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

METRICS = ("landmark-error", "perceptual-squeezenet", "psnr", "ssim", "warping-error")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", default=None)
    parser.add_argument("--frames", type=int, default=0, help="at most so many frames of each clip (0: all)")
    parser.add_argument("--jobs", type=int, default=1, help="clips at the same time")
    given = parser.parse_args()
    rows = [json.loads(line) for line in (given.data / "clips.ndjson").read_text().splitlines()]
    figures: dict[str, dict[str, list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))
    held = [row for row in rows if row["split"] == "val"]
    with ThreadPoolExecutor(given.jobs) as pool:
        judged = pool.map(lambda row: judge(given.data / row["clip"], row["id"], given.out, given.model, given.frames), held)
        for row, scores in zip(held, judged, strict=True):
            for score in scores:
                if score["value"] is not None:
                    figures[row["subject"]][score["metric"]].append((score["value"], score["baseline"]))
    (given.out / "results.json").write_text(json.dumps(figures, indent=1))
    print(table(figures))


def judge(clip: Path, name: str, out: Path, model: str | None, frames: int) -> list[dict[str, Any]]:
    """The scores of one clip, driven by itself from its first frame."""
    if frames:
        clip = first_frames(clip, out / "clips" / f"{name}.clip", frames)
    made = out / "made" / f"{name}.clip"
    command = ["synthesize", "--examples", str(clip), "--driving", str(clip), "--num-examples", "1", "--crop", "none", "-o", str(made)]
    fsv2v(*command, *(["--model", model] if model else []))
    wanted = [argument for metric in METRICS for argument in ("--metric", metric)]
    lines = fsv2v("evaluate", str(made), "--reference", str(clip), "--json", *wanted).splitlines()
    return [json.loads(line) for line in lines]


def first_frames(clip: Path, short: Path, frames: int) -> Path:
    """A clip of the first `frames` frames of another, with its landmarks."""
    from stages.clip import Producer, create_clip, open_clip

    whole = open_clip(clip)
    if short.exists() or whole.num_frames <= frames:
        return short if short.exists() else clip
    made = create_clip(short, whole.frames(0, frames), fps=whole.fps)
    with made.writing("landmarks", Producer("held-out"), {"frames": made.frames_digest()}) as layer:
        layer.arrays(points=whole.layer("landmarks").arrays()["points"][:frames])
    return short


def fsv2v(*arguments: str) -> str:
    done = subprocess.run([sys.executable, "-m", "fsv2v_cli", *arguments], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"fsv2v {' '.join(arguments)} ended with {done.returncode}")
    return done.stdout


def table(figures: dict[str, dict[str, list[tuple[float, float]]]]) -> str:
    """Rows per person and their mean: value (baseline) of each metric."""
    names = [metric for metric in METRICS if any(metric in scores for scores in figures.values())]
    lines = [f"| person | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    means: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for person in sorted(figures):
        cells = []
        for metric in names:
            value, baseline = mean(figures[person][metric])
            means[metric].append((value, baseline))
            cells.append(f"{value:.3g} ({baseline:.3g})")
        lines.append(f"| {person} | {' | '.join(cells)} |")
    total = {metric: mean(pairs) for metric, pairs in means.items()}
    lines.append(f"| **mean** | {' | '.join(f'**{total[m][0]:.3g}** ({total[m][1]:.3g})' for m in names)} |")
    lines.append(f"| ratio | {' | '.join(f'{total[m][0] / total[m][1]:.3f}' for m in names)} |")
    return "\n".join(lines)


def mean(pairs: list[tuple[float, float]]) -> tuple[float, float]:
    return sum(value for value, _ in pairs) / len(pairs), sum(baseline for _, baseline in pairs) / len(pairs)


if __name__ == "__main__":
    main()
