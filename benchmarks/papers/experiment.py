"""An experiment: data x variants x seeds -> trained models -> videos of held-out subjects -> figures.

Everything lies in one folder, and what is finished is not made again: models/NAME/seed-S is a run as `fsv2v train` makes it, with its
exact resume; results/NAME/seed-S holds a clip per held-out subject and figures.json. So a command that was killed goes on when it is given
again, and several tables may share a folder, and with it the models that they have in common.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

import cv2
import torch
from judging import OF_LABELS, Figures, Triple, judge, repeated_image
from labeller import train as train_labeller
from rivals.joints import JOINTS
from scales import Scale
from sources import Row, chosen, index

from stages.clip import Clip, create_clip, open_clip
from stages.conditions.kinds import open_track
from stages.io.digests import file_sha256
from stages.io.files import write_atomically
from stages.models import load_model
from stages.networks.common.config import GeneratorConfig
from stages.networks.families import as_family
from stages.predict import PredictOptions, predict
from stages.synthesize import SynthesizeOptions, synthesize
from stages.train import LoggingSettings, TrainConfig, TrainOptions, train
from stages.train.dataset_clip import DatasetClip

sys.path.append(str(Path(__file__).resolve().parents[1]))  # what all benchmarks share

from excerpts import cut

Drive = Callable[[Clip, Clip, Path], Clip]
"""Examples, judged clip, and the path to write to -> the clip that drives."""


@dataclass(frozen=True)
class Variant:
    """A row of a table: what of the network and of its training differs, how many subjects it sees, and how it is asked.

    family: of the rivals; empty: ours. model: the variant whose model is used, where only the question differs. joints: it is driven by
    heat maps of the joints, too, not by the drawn skeleton alone. base: its network, where it is not that of the scale; kind: what drives
    it, where it is not what drives the others. start: the variant whose trained weights its training begins with. continues: its videos
    continue the real frames before those that are judged. drive: makes the clip that drives it; future: the variant whose model predicts
    the label maps that drive it, from those of the examples; without both the judged clip drives it.
    """

    name: str
    network: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    subjects: int | None = None
    asked: Mapping[str, Any] = field(default_factory=dict)
    model: str = ""
    family: str = ""
    joints: bool = False
    base: GeneratorConfig | None = None
    kind: str = ""
    start: Variant | None = None
    continues: bool = False
    drive: Drive | None = None
    future: Variant | None = None

    @property
    def folder(self) -> str:
        return slug(self.name)


@dataclass(frozen=True)
class Experiment:
    """What all variants of a table have in common.

    rows: see `sources`. examples: number of example frames taken from each held-out clip, at least K; adjacent: whether they come directly
    before the judged frames. last: number of judged frames at the end of each clip, 0 for all. teachers: the clips that train the labelling
    network; if empty, those that train the methods.
    """

    out: Path
    rows: tuple[Row, ...]
    kind: str
    scale: Scale
    metrics: tuple[str, ...]
    examples: int = 1
    device: str = "auto"
    teachers: tuple[Row, ...] = ()
    adjacent: bool = False
    last: int = 0

    def config(self, variant: Variant, seed: int) -> TrainConfig:
        """The training run of a variant."""
        kind = JOINTS.name if variant.joints else variant.kind or self.kind
        channels = open_track(self._dataset_clip.clip, kind).channels
        size = self.scale.size_for(self._dataset_clip.shape)
        config = self.scale.config(kind, channels, size, variant.network, variant.training, seed, variant.base)
        return replace(config, generator=as_family(config.generator, variant.family)) if variant.family else config

    @property
    def _dataset_clip(self) -> DatasetClip:
        return DatasetClip(Path(), self.rows[0], self.kind)

    def data(self, variant: Variant) -> Path:
        """The dataset that a variant is trained on."""
        subjects = variant.subjects or self.scale.subjects
        rows = chosen(self.rows, subjects, self.scale.held_out)
        return index(rows, self.kind, self.out / "data" / f"{self.kind}-{subjects or 'all'}")

    @property
    def chosen(self) -> list[Row]:
        """What the scale takes of the clips."""
        return chosen(self.rows, self.scale.subjects, self.scale.held_out)

    @property
    def held_out(self) -> list[Row]:
        return [row for row in self.chosen if row["split"] == "val"]

    def cuts(self) -> list[tuple[Row, Clip, Clip]]:
        """Of each held-out clip its examples and what is judged."""
        folder = self.out / "cuts" / f"{self.kind}-{'before-' if self.adjacent else ''}{self.examples}"
        found = []
        for row in self.held_out:
            pair = cut(Path(), row, self.kind, self.scale.frames, folder / row["id"], self.examples, adjacent=self.adjacent)
            found.append((row, *pair))
            if self.adjacent and not (kept := repeated_image(pair[0])).exists():
                cv2.imwrite(str(kept), pair[0].frame(pair[0].num_frames - 1)[..., ::-1])
        return found

    def labeller(self) -> Path | None:
        """The network that finds labels in results, trained once; None where there are no labels, or no metric asks for them."""
        if self.kind != "segment" or not set(OF_LABELS) & set(self.metrics):
            return None
        plain = Variant("labeller")
        rows = [{**row, "split": "train"} for row in self.teachers]
        data = index(rows, self.kind, self.out / "data" / "labeller") if rows else self.data(plain)
        return train_labeller(data, self.config(plain, 0), self.scale.labeller_steps, self.out / "labeller.safetensors")


Task = tuple[Experiment, Variant, int]
"""An experiment, a variant and a seed."""


def run(experiment: Experiment, variants: Sequence[Variant], jobs: int = 1) -> list[Figures]:
    """The figures of every variant and seed, in this order; what is there already is only read."""
    experiment.labeller()
    experiment.cuts()
    tasks = [(experiment, variant, seed) for variant in variants for seed in range(experiment.scale.seeds)]
    needed = [(experiment, other, seed) for _, variant, seed in tasks for other in (variant.start, variant.future) if other is not None]
    rounds = [_models([*needed, *(task for task in tasks if task[1].start is None)]), _models(tasks)]
    if jobs == 1:
        for task in chain.from_iterable(rounds):
            trained(*task)
        return [finished(*task) for task in tasks]
    threads = max(1, torch.get_num_threads() // jobs)
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), torch.set_num_threads, (threads,)) as pool:
        for models in rounds:
            list(pool.map(trained, *zip(*models, strict=True)))
        return list(pool.map(finished, *zip(*tasks, strict=True)))


def _models(tasks: Sequence[Task]) -> list[Task]:
    """A task for each model that these tasks need."""
    return list({(model_of(variant), seed): (experiment, variant, seed) for experiment, variant, seed in tasks}.values())


def trained(experiment: Experiment, variant: Variant, seed: int) -> Path:
    """The model of a variant, its training begun, gone on with, or done already."""
    folder = experiment.out / "models" / model_of(variant) / f"seed-{seed}"
    config = experiment.config(variant, seed)
    final = folder / f"snapshot-{config.steps:08d}.safetensors"
    done = folder / "done.json"
    data = experiment.data(variant)
    start = trained(experiment, variant.start, seed) if variant.start else None
    known = {"config": config.to_json(), "clips": (data / "clips.ndjson").read_text()}
    wanted = json.loads(json.dumps(known | ({"start": file_sha256(start)} if start else {})))
    if done.exists() and final.exists() and json.loads(done.read_text()) == wanted:
        return final
    say(f"training {variant.model or variant.name}, seed {seed}: {config.steps} steps")
    options = TrainOptions(data, experiment.device, LoggingSettings(save_seconds=120), start=start)
    train(config, options, folder, event=lambda row: say(row["message"]) if "message" in row else None)
    write_atomically(done, json.dumps(wanted).encode())
    for state in folder.glob("state-*.pt"):
        state.unlink()  # a finished run is only used
    return final


def finished(experiment: Experiment, variant: Variant, seed: int) -> Figures:
    """A trained variant's videos of all held-out clips, and their figures."""
    snapshot = trained(experiment, variant, seed)
    model = load_model(snapshot)
    folder = experiment.out / "results" / variant.folder / f"seed-{seed}"
    asked = {
        "num_examples": 1,
        "normalize": "off",
        "crop": "none",
        "size": "model",
        "precision": "fp32",
        "device": experiment.device,
        **variant.asked,
    }
    pairs = []
    for row, examples, judged in experiment.cuts():
        out = folder / f"{row['id']}.clip"
        driving = _driving(experiment, variant, seed, examples, judged, folder / "driving" / out.name)
        start = examples if variant.continues else None
        synthesize([examples] if model.config.few_shot else [], driving, model, out, SynthesizeOptions(**asked), start=start)
        pairs.append((open_clip(out), examples, judged))
    labeller = experiment.labeller()
    if experiment.last:
        folder = folder / f"last-{experiment.last}"
        pairs = [_last(triple, experiment.last, folder) for triple in pairs]
    kept, key = folder / "figures.json", [clip.frames_digest() for triple in pairs for clip in triple]
    key += [file_sha256(labeller)] if labeller else []
    size = sum(p.numel() for p in model.generator.parameters())
    known = Figures(variant=variant.name, seed=seed, parameters=size, minutes=minutes_of(snapshot.parent))
    if kept.exists() and (found := json.loads(kept.read_text()))["key"] == key:
        known = Figures(**found["figures"])
    wanted = [metric for metric in experiment.metrics if metric not in known.values]
    if wanted:
        say(f"judging {variant.name}, seed {seed}: {', '.join(wanted)}")
        known = known.and_also(judge(pairs, wanted, labeller, experiment.device))
        write_atomically(kept, json.dumps({"key": key, "figures": asdict(known)}, indent=1).encode())
    return known.only(experiment.metrics)


def _driving(experiment: Experiment, variant: Variant, seed: int, examples: Clip, judged: Clip, out: Path) -> Clip:
    """The clip that drives a video of a variant; one that has to be made is written to `out`."""
    if variant.drive is not None:
        return variant.drive(examples, judged, out)
    if variant.future is None:
        return judged
    model = load_model(trained(experiment, variant.future, seed))
    predict(examples, model, out, PredictOptions(judged.num_frames, device=experiment.device))
    return open_clip(out)


def _last(triple: Triple, count: int, folder: Path) -> Triple:
    """The last `count` frames of a result, and of what it is compared with."""
    result, examples, judged = triple
    parts = {"result": result, "judged": judged}
    paths = {name: folder / name / f"{result.path.stem}.clip" for name in parts}
    for name, clip in parts.items():
        create_clip(paths[name], clip.frames(max(0, clip.num_frames - count)), fps=clip.fps, overwrite=True)
    return open_clip(paths["result"]), examples, open_clip(paths["judged"])


def minutes_of(run: Path) -> float:
    """How long a run took, judging at milestones included."""
    rows = [json.loads(line) for line in (run / "speed.ndjson").read_text(encoding="utf-8").splitlines()]
    return sum(row["seconds"] for row in rows) / 60


def model_of(variant: Variant) -> str:
    return slug(variant.model) or variant.folder


def slug(name: str) -> str:
    return "-".join("".join(c if c.isalnum() else " " for c in name.lower()).split())


def say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
