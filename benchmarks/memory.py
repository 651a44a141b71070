"""Does memory grow with the length of a video? Peak resident memory of each stage on 3,000 frames and on 300. Goal: within 5 per cent.

    python benchmarks/memory.py VIDEO [--stages extract-sketch segment ...] [--short 300] [--long 3000]

VIDEO, which should show one face, is looped to both lengths. The short one is the baseline. Each stage runs as its own command; the peak is
the largest of its processes. Training and fine-tuning run for a few steps on a dataset made of the video.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from measuring import CommandRun, fsv2v, loop_video, report

GOAL = 1.05


@dataclass(frozen=True)
class Material:
    """Where the files of one length lie: the video, and what stages make of it."""

    folder: Path
    video: Path

    @property
    def clips(self) -> Path:
        return self.folder / "clips"

    @property
    def clip(self) -> Path:
        return self.clips / f"{self.video.stem}.clip"

    @property
    def faces(self) -> Path:
        return self.folder / "faces"

    @property
    def result(self) -> Path:
        return self.folder / "result.mp4"


def per_clip(stage: str) -> Callable[[Material], CommandRun]:
    return lambda material: fsv2v(stage, material.video, "-o", material.clips, "-q")


def build_dataset(material: Material) -> CommandRun:
    return fsv2v("build-dataset", material.clip, "-o", material.faces, "-q")


def train(material: Material) -> CommandRun:
    return fsv2v("train", "--data", material.faces, "--preset", "tiny", "--steps", "4", "-o", material.folder / "run", "-q")


def finetune(material: Material) -> CommandRun:
    return fsv2v("finetune", "--examples", material.clip, "--steps", "2", "-o", material.folder / "tuned.safetensors", "-q")


def synthesize(material: Material) -> CommandRun:
    return fsv2v("synthesize", "--examples", material.clip, "--driving", material.clip, "-o", material.result, "--size", "model", "-q")


def evaluate(material: Material) -> CommandRun:
    return fsv2v("evaluate", material.video, "--reference", material.video, "--cache", material.folder / "cache", "--json", "-q")


STAGES: dict[str, Callable[[Material], CommandRun]] = {
    "extract-sketch": per_clip("extract-sketch"),
    "extract-poses": per_clip("extract-poses"),
    "segment": per_clip("segment"),
    "build-dataset": build_dataset,
    "train": train,
    "finetune": finetune,
    "synthesize": synthesize,
    "evaluate": evaluate,
}
"""In the order in which one makes what the next needs: build-dataset and those after it want extract-sketch to be among the stages."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path)
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES), metavar="STAGE")
    parser.add_argument("--short", type=int, default=300)
    parser.add_argument("--long", type=int, default=3000)
    asked = parser.parse_args()
    rows: list[dict[str, float | str]] = []
    goals: dict[str, tuple[float, float, bool]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        materials = [material(asked.video, frames, Path(temporary)) for frames in (asked.short, asked.long)]
        for stage in asked.stages:
            short, long = (STAGES[stage](one).peak for one in materials)
            rows.append({"stage": stage, f"MiB at {asked.short}": short, f"MiB at {asked.long}": long, "ratio": long / short})
            goals[stage] = (long / short, GOAL, long / short <= GOAL)
    report("memory", rows, goals)


def material(video: Path, frames: int, folder: Path) -> Material:
    place = folder / str(frames)
    place.mkdir()
    return Material(place, loop_video(video, frames, place / "video.mp4"))


if __name__ == "__main__":
    main()
