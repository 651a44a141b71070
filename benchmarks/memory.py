"""Whether memory grows with the length of a video: peak resident memory of each stage on 3,000 frames relative to 300. Goal: at most 1.05.

    python benchmarks/memory.py VIDEO [--stages extract-sketch segment ...] [--short 300] [--long 3000]

VIDEO should show one face; it is looped to both lengths. The short video is the baseline. Each stage runs as a command of its own, and the
peak is that of its largest process. Training and finetuning run for a few steps.
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
class Workspace:
    """Paths of the files of one video length: the video, and the outputs of the stages."""

    folder: Path
    video: Path

    @property
    def clips(self) -> Path:
        return self.folder / "clips"

    @property
    def clip(self) -> Path:
        return self.clips / f"{self.video.stem}.clip"

    @property
    def dataset(self) -> Path:
        return self.folder / "dataset"

    @property
    def result(self) -> Path:
        return self.folder / "result.mp4"


def extract(stage: str) -> Callable[[Workspace], CommandRun]:
    return lambda workspace: fsv2v(stage, workspace.video, "-o", workspace.clips, "-q")


def build_dataset(workspace: Workspace) -> CommandRun:
    return fsv2v("build-dataset", workspace.clip, "-o", workspace.dataset, "-q")


def train(workspace: Workspace) -> CommandRun:
    return fsv2v("train", "--data", workspace.dataset, "--preset", "tiny", "--steps", "4", "-o", workspace.folder / "run", "-q")


def finetune(workspace: Workspace) -> CommandRun:
    return fsv2v("finetune", "--examples", workspace.clip, "--steps", "2", "-o", workspace.folder / "tuned.safetensors", "-q")


def synthesize(workspace: Workspace) -> CommandRun:
    return fsv2v("synthesize", "--examples", workspace.clip, "--driving", workspace.clip, "-o", workspace.result, "--size", "model", "-q")


def evaluate(workspace: Workspace) -> CommandRun:
    return fsv2v("evaluate", workspace.video, "--reference", workspace.video, "--cache", workspace.folder / "cache", "--json", "-q")


STAGES: dict[str, Callable[[Workspace], CommandRun]] = {
    "extract-sketch": extract("extract-sketch"),
    "extract-poses": extract("extract-poses"),
    "segment": extract("segment"),
    "build-dataset": build_dataset,
    "train": train,
    "finetune": finetune,
    "synthesize": synthesize,
    "evaluate": evaluate,
}
"""In the order in which they run. build-dataset, finetune and synthesize need the output of extract-sketch; train needs the dataset."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path)
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES), metavar="STAGE")
    parser.add_argument("--short", type=int, default=300, help="frames of the short video")
    parser.add_argument("--long", type=int, default=3000, help="frames of the long video")
    arguments = parser.parse_args()
    rows: list[dict[str, float | str]] = []
    goals: dict[str, tuple[float, float, bool]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        workspaces = [make_workspace(arguments.video, frames, Path(temporary)) for frames in (arguments.short, arguments.long)]
        for stage in arguments.stages:
            short, long = (STAGES[stage](workspace).peak for workspace in workspaces)
            rows.append({"stage": stage, f"MiB at {arguments.short}": short, f"MiB at {arguments.long}": long, "ratio": long / short})
            goals[stage] = (long / short, GOAL, long / short <= GOAL)
    report("memory", rows, goals)


def make_workspace(video: Path, frames: int, folder: Path) -> Workspace:
    subfolder = folder / str(frames)
    subfolder.mkdir()
    return Workspace(subfolder, loop_video(video, frames, subfolder / "video.mp4"))


if __name__ == "__main__":
    main()
