"""Self-reenactment of the persons or places that a dataset holds out. The tables of the model cards come from this script.

    python benchmarks/held_out.py --data data/faces --out out/held-out [--model MODEL] [--frames 150] [--finetune 60] [--jobs 2]

Four frames of each clip of the split "val" are the examples, evenly spaced among the first 40 frames (or the first half of the clip, if
that is shorter). The frames after that range are synthesized from the clip's own driving layer and measured, so that no example is ever
measured. K = 1 uses the first of the four examples only. For comparison, there are figures of the model adapted to the four examples
(--finetune STEPS), of "repeat" (the first example in every frame), of "warp only" (the first example warped by the model's flow everywhere,
also where the mask rejects the warp) and of "real" (the true video). Figures are means over the frames of a clip, then over the clips of a
person or place, then over persons or places.

The script runs the commands finetune, synthesize and evaluate; existing results are kept. It prints Markdown. results.json contains every
figure, and sheets/ a contact sheet of each clip. `identity-dlib` is the distance between the embeddings of the face and of the true face.
`face-perceptual` is the perceptual distance of the face alone, cut out around the driving landmarks and scaled to 128x128.
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
import held_out_report
import numpy as np
import torch

from stages.clip import Clip, open_clip
from stages.conditions.view import View
from stages.io.files import write_atomically
from stages.models import find_model, read_model
from stages.models.perceptual import open_distance
from stages.networks.common.images import image_tensor
from stages.networks.families import config_from_json
from weights import registry

KIND_METRICS = {
    "landmarks": ("landmark-error", "identity-dlib"),
    "poses": ("pose-error", "pose-error-pixels"),
    "segment": ("segment-miou",),
}
METRICS = ("perceptual-squeezenet", "psnr", "ssim", "warping-error")
FACE = "face-perceptual"
FACE_SIDE, FACE_MARGIN = 128, 1.3
"""Side of a face crop in pixels, and relative to the longer side of the landmarks' bounding box."""


@dataclass(frozen=True)
class Trial:
    """The settings of one run of this script. steps: of finetuning; 0: none."""

    data: Path
    out: Path
    model: str
    kind: str
    size: tuple[int, int]
    frames: int
    steps: int

    @property
    def metrics(self) -> list[str]:
        return [*KIND_METRICS[self.kind.split("+")[0]], *METRICS]

    @property
    def variants(self) -> dict[str, list[str]]:
        """For each variant the options of `synthesize`, in addition to the model."""
        four = ["--num-examples", "4"]
        tuned = {"K=4 finetuned": four} if self.steps else {}
        warp = {"warp only": ["--num-examples", "1", "--show", "warp"]} if self._warps_example else {}
        return {"K=1": ["--num-examples", "1"], "K=4": four, **tuned, **warp}

    @property
    def _warps_example(self) -> bool:
        return config_from_json(read_model(Path(self.model))[0]["generator"]).warps_example


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder of the results; use a new one for another model")
    parser.add_argument("--model", help="a model file or the folder of a training run; default: the shipped face model")
    parser.add_argument(
        "--kind", choices=[*KIND_METRICS, "landmarks+iris", "poses+densepose"], help="driving kind; default: that of the model"
    )
    parser.add_argument("--frames", type=int, default=0, help="measure at most this number of frames of each clip (0: all)")
    parser.add_argument("--finetune", type=int, default=0, metavar="STEPS", help="also adapt the model to the four examples")
    parser.add_argument("--only", action="append", metavar="SUBJECT", help="measure only this person or place; may be repeated")
    parser.add_argument("--jobs", type=int, default=1, help="number of clips processed at the same time")
    arguments = parser.parse_args()
    trial = _read_trial(arguments)
    rows = [json.loads(line) for line in (arguments.data / "clips.ndjson").read_text().splitlines()]
    held_out = [row for row in rows if row["split"] == "val" and (not arguments.only or row["subject"] in arguments.only)]
    if not held_out:
        names = f" named {' or '.join(arguments.only)}" if arguments.only else ""
        sys.exit(f"{arguments.data} holds out no person or place{names}")
    with ThreadPoolExecutor(arguments.jobs) as pool:
        scores = list(pool.map(lambda row: measure(trial, row), held_out))
    subjects: dict[str, list[held_out_report.Scores]] = defaultdict(list)
    for row, score in zip(held_out, scores, strict=True):
        subjects[row["subject"]].append(score)
    _write_report(trial, {name: held_out_report.mean(clips) for name, clips in subjects.items()})


def _read_trial(arguments: argparse.Namespace) -> Trial:
    model = find_model(Path(arguments.model)) if arguments.model else registry.path("face-256.safetensors")
    config = config_from_json(read_model(model)[0]["generator"])
    if arguments.kind not in (None, config.kind):
        sys.exit(f"{model} is driven by {config.kind}, not by {arguments.kind}")
    return Trial(arguments.data, arguments.out, str(model), config.kind, config.size, arguments.frames, arguments.finetune)


def _write_report(trial: Trial, subjects: Mapping[str, held_out_report.Scores]) -> None:
    total = held_out_report.mean(list(subjects.values()))
    settings = {"model": trial.model, "frames": trial.frames, "finetune": trial.steps}
    results = {"settings": settings, "subjects": subjects, "mean": total}
    write_atomically(trial.out / "results.json", json.dumps(results, indent=1).encode())
    metrics = [*trial.metrics, *([FACE] if "landmarks" in trial.kind else [])]
    print(held_out_report.summary(total, metrics, [*trial.variants, "repeat", "real"]), end="\n\n")
    shown = [name for name in trial.variants if name != "warp only"]
    print(f"Each cell contains {', '.join(shown)} and in brackets repeat:\n")
    print(held_out_report.by_subject(subjects, metrics, shown))


def measure(trial: Trial, row: dict[str, Any]) -> held_out_report.Scores:
    """The figures of one clip. Its results and scores are kept in clips/ID, its contact sheet in sheets/."""
    folder = trial.out / "clips" / row["id"]
    examples, reference = excerpts.cut(trial.data, row, trial.kind, trial.frames, folder)
    results = {variant: _synthesize(trial, folder, variant) for variant in trial.variants}
    held_out_report.contact_sheet(trial.out / "sheets" / f"{row['id']}.png", trial.kind, trial.size, examples, reference, results)
    key = {"metrics": trial.metrics, "frames": {name: clip.frames_digest() for name, clip in {**results, "real": reference}.items()}}
    file = folder / "scores.json"
    if file.exists() and (known := json.loads(file.read_text()))["key"] == key:
        return dict(known["scores"])
    scores = _evaluate(trial, folder, examples, reference, results)
    write_atomically(file, json.dumps({"key": key, "scores": scores}, indent=1).encode())
    return scores


def _synthesize(trial: Trial, folder: Path, variant: str) -> Clip:
    model = trial.model
    if variant.endswith("finetuned"):
        model = str(folder / "tuned.safetensors")
        examples = ["--examples", str(folder / "examples.clip"), "--num-examples", str(excerpts.EXAMPLES)]
        fsv2v("finetune", "--model", trial.model, *examples, "--steps", str(trial.steps), "-o", model)
    out = folder / f"{variant.replace(' ', '-')}.clip"
    clips = ["--examples", str(folder / "examples.clip"), "--driving", str(folder / "reference.clip")]
    fsv2v(
        "synthesize",
        *clips,
        "--crop",
        "none",
        "--normalize",
        "off",
        "--model",
        model,
        "--size",
        "model",
        *trial.variants[variant],
        "-o",
        str(out),
    )
    return open_clip(out)


def _evaluate(trial: Trial, folder: Path, examples: Clip, reference: Clip, results: Mapping[str, Clip]) -> dict[str, dict[str, float]]:
    """variant -> metric -> figure."""
    first = folder / "example.png"
    cv2.imwrite(str(first), examples.frame(0)[..., ::-1])
    metrics = [argument for metric in trial.metrics for argument in ("--metric", metric)]
    paths = {str(clip.path): variant for variant, clip in results.items()}
    against = ["--reference", str(reference.path), "--driving", str(reference.path), "--example", str(first)]
    scores: dict[str, dict[str, float]] = defaultdict(dict)
    for line in fsv2v("evaluate", *paths, *against, *metrics, "--json").splitlines():
        row = json.loads(line)
        for variant, value in ((paths[row["result"]], "value"), ("repeat", "baseline"), ("real", "floor")):
            if row[value] is not None:
                scores[variant][row["metric"]] = row[value]
    if "landmarks" in trial.kind:
        for variant, distance in face_distances(examples, reference, results).items():
            scores[variant][FACE] = distance
    return dict(scores)


def face_distances(examples: Clip, reference: Clip, results: Mapping[str, Clip]) -> dict[str, float]:
    """Mean perceptual distance between face crops of a result and of the reference, for each result and for the repeated example."""
    distance = open_distance("squeezenet", torch.device("cpu"))
    assert distance is not None
    sums: dict[str, list[float]] = defaultdict(list)
    for points, truth, *images in zip(_points(reference), reference.frames(), *(clip.frames() for clip in results.values()), strict=True):
        if not points[:, 2].any():
            continue
        view = _face_crop(points)
        faces = image_tensor(np.stack([view.image(image) for image in (*images, examples.frame(0), truth)]))
        with torch.inference_mode():
            distances = distance(faces[:-1], faces[-1:].expand_as(faces[:-1]).contiguous())
        for variant, value in zip((*results, "repeat"), distances.tolist(), strict=True):
            sums[variant].append(value)
    return {variant: float(np.mean(values)) for variant, values in sums.items()}


def _points(clip: Clip) -> Iterator[np.ndarray]:
    """The landmarks [68, 3] of the first face in each frame."""
    yield from clip.layer("landmarks").arrays()["points"][:, 0]


def _face_crop(points: np.ndarray) -> View:
    low, high = points[:, :2].min(0), points[:, :2].max(0)
    side = FACE_MARGIN * float((high - low).max())
    return View.crop(np.array([*((low + high - side) / 2), side]), FACE_SIDE, FACE_SIDE)


def fsv2v(*arguments: str) -> str:
    """Run `fsv2v ARGUMENTS` and return its stdout. Ends the script if it fails."""
    process = subprocess.run([sys.executable, "-m", "fsv2v_cli", *arguments, "-q"], stdout=subprocess.PIPE, text=True)
    if process.returncode:
        sys.exit(f"fsv2v {' '.join(arguments)} failed with exit code {process.returncode}")
    return process.stdout


if __name__ == "__main__":
    main()
