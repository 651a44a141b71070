"""Self-reenactment of the persons or places that a dataset holds out: how far a model generalises. It fills the tables of model cards.

    python benchmarks/held_out.py --data data/faces --out out/held-out [--model MODEL] [--frames 150] [--finetune 60] [--jobs 2]

Of every clip of the split "val" four frames, evenly spaced among the first 40 (or the first half of a shorter one), are the examples; the
frames after these are made from the clip's own driving layer and judged, so that no example is ever judged. K = 1 has the first of the
four only. Beside them stand the model adapted to the four (--finetune STEPS), "repeat" (the first example in every frame), "warp only"
(the first example moved by the model's own flow, wherever it is trusted or not) and "real" (what the true video scores). Figures are
means over the frames of a clip, then over the clips of a person or place, then over these.

What it runs are the commands themselves: finetune, synthesize, evaluate; what is made already is not made again. It prints Markdown;
results.json holds every figure, sheets/ an image of each clip to look at. `face-perceptual` stands for identity: the perceptual distance
of the face alone, cut out where the driving landmarks are and scaled to 128x128; it is no measure of recognition.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import excerpts
import numpy as np
import showing
import torch

from stages.clip import Clip, open_clip
from stages.conditions.view import View
from stages.io.files import write_atomically
from stages.models import find_model, read_model
from stages.models.perceptual import open_distance
from stages.networks.common.images import image_tensor
from stages.networks.families import config_from_json
from weights import registry

OF_KIND = {"landmarks": ("landmark-error",), "poses": ("pose-error", "pose-error-pixels"), "segment": ("segment-miou",)}
METRICS = ("perceptual-squeezenet", "psnr", "ssim", "warping-error")
IDENTITY = "face-perceptual"
FACE_SIDE, FACE_ROOM = 128, 1.3
"""Pixels of a cut face, and its side in units of the landmarks' box."""


@dataclass(frozen=True)
class Trial:
    """What is asked of one run of this script."""

    data: Path
    out: Path
    model: str
    kind: str
    size: tuple[int, int]
    frames: int
    steps: int

    @property
    def metrics(self) -> list[str]:
        return [*OF_KIND[self.kind.split("+")[0]], *METRICS]

    @property
    def variants(self) -> dict[str, list[str]]:
        """The options of synthesize that make each, beside the model."""
        four = ["--num-examples", "4"]
        tuned = {"K=4 finetuned": four} if self.steps else {}
        warp = {"warp only": ["--num-examples", "1", "--show", "warp"]} if self._warps else {}
        return {"K=1": ["--num-examples", "1"], "K=4": four, **tuned, **warp}

    @property
    def _warps(self) -> bool:
        return config_from_json(read_model(Path(self.model))[0]["generator"]).warps_example


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="another model wants another folder")
    parser.add_argument("--model", help="a model file or a run's folder; default: the shipped one of the kind")
    parser.add_argument("--kind", choices=[*OF_KIND, "landmarks+iris", "poses+densepose"], help="default: that of the model")
    parser.add_argument("--frames", type=int, default=0, help="judge at most so many frames of each clip (0: all)")
    parser.add_argument("--finetune", type=int, default=0, metavar="STEPS", help="also adapt the model to the four examples")
    parser.add_argument("--only", action="append", metavar="SUBJECT", help="leave out others; may be repeated")
    parser.add_argument("--jobs", type=int, default=1, help="clips at the same time")
    given = parser.parse_args()
    trial = _trial(given)
    rows = [json.loads(line) for line in (given.data / "clips.ndjson").read_text().splitlines()]
    held = [row for row in rows if row["split"] == "val" and (not given.only or row["subject"] in given.only)]
    if not held:
        sys.exit(f"{given.data} holds out nobody" + (f" of the names {', '.join(given.only)}" if given.only else ""))
    with ThreadPoolExecutor(given.jobs) as pool:
        scores = list(pool.map(lambda row: judge(trial, row), held))
    subjects: dict[str, list[showing.Scores]] = defaultdict(list)
    for row, score in zip(held, scores, strict=True):
        subjects[row["subject"]].append(score)
    _report(trial, {name: showing.mean(clips) for name, clips in subjects.items()})


def _trial(given: argparse.Namespace) -> Trial:
    model = find_model(Path(given.model)) if given.model else registry.path("face-256.safetensors")
    config = config_from_json(read_model(model)[0]["generator"])
    if given.kind not in (None, config.kind):
        sys.exit(f"{model} is driven by {config.kind}, not by {given.kind}")
    return Trial(given.data, given.out, str(model), config.kind, config.size, given.frames, given.finetune)


def _report(trial: Trial, subjects: Mapping[str, showing.Scores]) -> None:
    total = showing.mean(list(subjects.values()))
    settings = {"model": trial.model, "frames": trial.frames, "finetune": trial.steps}
    found = {"settings": settings, "subjects": subjects, "mean": total}
    write_atomically(trial.out / "results.json", json.dumps(found, indent=1).encode())
    metrics = [*trial.metrics, *([IDENTITY] if "landmarks" in trial.kind else [])]
    print(showing.summary(total, metrics, [*trial.variants, "repeat", "real"]), end="\n\n")
    print(f"In each cell {', '.join(name for name in trial.variants if name != 'warp only')} (repeat):\n")
    print(showing.by_subject(subjects, metrics, [name for name in trial.variants if name != "warp only"]))


def judge(trial: Trial, row: dict[str, Any]) -> showing.Scores:
    """The figures of one clip; its results, scores and contact sheet are kept in a folder of its own."""
    folder = trial.out / "clips" / row["id"]
    examples, judged = excerpts.cut(trial.data, row, trial.kind, trial.frames, folder)
    made = {variant: _made(trial, folder, variant) for variant in trial.variants}
    showing.contact_sheet(trial.out / "sheets" / f"{row['id']}.png", trial.kind, trial.size, examples, judged, made)
    key = {"metrics": trial.metrics, "frames": {name: clip.frames_digest() for name, clip in {**made, "real": judged}.items()}}
    kept = folder / "scores.json"
    if kept.exists() and (known := json.loads(kept.read_text()))["key"] == key:
        return dict(known["scores"])
    scores = _scores(trial, folder, examples, judged, made)
    write_atomically(kept, json.dumps({"key": key, "scores": scores}, indent=1).encode())
    return scores


def _made(trial: Trial, folder: Path, variant: str) -> Clip:
    model = trial.model
    if variant.endswith("finetuned"):
        model = str(folder / "tuned.safetensors")
        given = ["--examples", str(folder / "examples.clip"), "--num-examples", str(excerpts.EXAMPLES), "--steps", str(trial.steps)]
        fsv2v("finetune", "--model", trial.model, *given, "-o", model)
    out = folder / f"{variant.replace(' ', '-')}.clip"
    pair = ["--examples", str(folder / "examples.clip"), "--driving", str(folder / "judged.clip"), "--crop", "none", "--normalize", "off"]
    fsv2v("synthesize", *pair, "--model", model, "--size", "model", *trial.variants[variant], "-o", str(out))
    return open_clip(out)


def _scores(trial: Trial, folder: Path, examples: Clip, judged: Clip, made: Mapping[str, Clip]) -> dict[str, dict[str, float]]:
    first = folder / "example.png"
    cv2.imwrite(str(first), examples.frame(0)[..., ::-1])
    wanted = [argument for metric in trial.metrics for argument in ("--metric", metric)]
    paths = {str(clip.path): variant for variant, clip in made.items()}
    against = ["--reference", str(judged.path), "--driving", str(judged.path), "--example", str(first)]
    scores: dict[str, dict[str, float]] = defaultdict(dict)
    for line in fsv2v("evaluate", *paths, *against, *wanted, "--json").splitlines():
        said = json.loads(line)
        for variant, value in ((paths[said["result"]], "value"), ("repeat", "baseline"), ("real", "floor")):
            if said[value] is not None:
                scores[variant][said["metric"]] = said[value]
    if "landmarks" in trial.kind:
        for variant, distance in identities(examples, judged, made).items():
            scores[variant][IDENTITY] = distance
    return dict(scores)


def identities(examples: Clip, judged: Clip, made: Mapping[str, Clip]) -> dict[str, float]:
    """Mean perceptual distance of the faces alone from the true ones, of each result and of the repeated example."""
    distance = open_distance("squeezenet", torch.device("cpu"))
    assert distance is not None
    sums: dict[str, list[float]] = defaultdict(list)
    for points, truth, *results in zip(_points(judged), judged.frames(), *(clip.frames() for clip in made.values()), strict=True):
        if not points[:, 2].any():
            continue
        view = _face(points)
        images = [view.image(image) for image in (*results, examples.frame(0), truth)]
        stack = image_tensor(np.stack(images))
        with torch.inference_mode():
            apart = distance(stack[:-1], stack[-1:].expand_as(stack[:-1]).contiguous())
        for variant, value in zip((*made, "repeat"), apart.tolist(), strict=True):
            sums[variant].append(value)
    return {variant: float(np.mean(values)) for variant, values in sums.items()}


def _points(clip: Clip) -> Iterator[np.ndarray]:
    yield from clip.layer("landmarks").arrays()["points"][:, 0]


def _face(points: np.ndarray) -> View:
    low, high = points[:, :2].min(0), points[:, :2].max(0)
    side = FACE_ROOM * float((high - low).max())
    return View.crop(np.array([*((low + high - side) / 2), side]), FACE_SIDE, FACE_SIDE)


def fsv2v(*arguments: str) -> str:
    done = subprocess.run([sys.executable, "-m", "fsv2v_cli", *arguments, "-q"], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"fsv2v {' '.join(arguments)} ended with {done.returncode}")
    return done.stdout


if __name__ == "__main__":
    main()
