"""An experiment: data x variants x seeds -> trained models -> videos of held-out subjects -> figures.

All files are in one folder, and finished ones are kept. models/NAME/seed-S is a training run as by `fsv2v train`, which resumes exactly;
results/NAME/seed-S has a result for each held-out clip, and figures.json. A command that was killed continues when it is run again, and
tables in the same folder share their common models.
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
from baselines.joints import JOINTS
from labeller import train as train_labeller
from scales import Scale
from scoring import LABEL_METRICS, Figures, Triple, repeated_image, score
from sources import Row, select_subjects, write_dataset

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

sys.path.append(str(Path(__file__).resolve().parents[1]))  # for the modules that all benchmarks share

from excerpts import cut

MakeDriving = Callable[[Clip, Clip, Path], Clip]
"""(examples, reference clip, path to write to) -> the driving clip."""


@dataclass(frozen=True)
class Variant:
    """A row of a table.

    network, training, synthesis: the options of the generator, of training and of `synthesize` in which the variant differs from others.
    subjects: number of training subjects; None: that of the scale. model: name of the variant whose model it uses; empty: its own.
    family: of the generator; empty: ours. joints: it is driven by heat maps of the joints in addition to the drawn skeleton.
    base: the configuration of its network, if it is not that of the scale. kind: its driving kind, if it is not that of the experiment.
    start: the variant whose trained weights its training starts from. continues: its videos continue the real frames before the reference.
    make_driving: makes its driving clip. label_predictor: the variant whose model predicts its driving label maps from those of the
    examples. If both are None, the reference clip drives it.
    """

    name: str
    network: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    subjects: int | None = None
    synthesis: Mapping[str, Any] = field(default_factory=dict)
    model: str = ""
    family: str = ""
    joints: bool = False
    base: GeneratorConfig | None = None
    kind: str = ""
    start: Variant | None = None
    continues: bool = False
    make_driving: MakeDriving | None = None
    label_predictor: Variant | None = None

    @property
    def folder(self) -> str:
        return slug(self.name)


@dataclass(frozen=True)
class Experiment:
    """What all variants of a table have in common.

    out: folder of all files. rows: the clips, see `sources`. examples: number of example frames of each held-out clip, at least K.
    adjacent: they come directly before the reference frames. last: only this number of frames at the end of each clip is evaluated; 0: all.
    labeller_rows: the clips on which the labelling network is trained; if empty, those on which the methods are trained.
    """

    out: Path
    rows: tuple[Row, ...]
    kind: str
    scale: Scale
    metrics: tuple[str, ...]
    examples: int = 1
    device: str = "auto"
    labeller_rows: tuple[Row, ...] = ()
    adjacent: bool = False
    last: int = 0

    def config(self, variant: Variant, seed: int) -> TrainConfig:
        """The training configuration of a variant."""
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
        rows = select_subjects(self.rows, subjects, self.scale.held_out)
        return write_dataset(rows, self.kind, self.out / "data" / f"{self.kind}-{subjects or 'all'}")

    @property
    def selected_rows(self) -> list[Row]:
        """The clips of the subjects that the scale uses."""
        return select_subjects(self.rows, self.scale.subjects, self.scale.held_out)

    @property
    def held_out(self) -> list[Row]:
        return [row for row in self.selected_rows if row["split"] == "val"]

    def test_clips(self) -> list[tuple[Row, Clip, Clip]]:
        """For each held-out clip (row, examples, reference clip)."""
        folder = self.out / "cuts" / f"{self.kind}-{'before-' if self.adjacent else ''}{self.examples}"
        clips = []
        for row in self.held_out:
            pair = cut(Path(), row, self.kind, self.scale.frames, folder / row["id"], self.examples, adjacent=self.adjacent)
            clips.append((row, *pair))
            if self.adjacent and not (path := repeated_image(pair[0])).exists():
                cv2.imwrite(str(path), pair[0].frame(pair[0].num_frames - 1)[..., ::-1])
        return clips

    def labeller(self) -> Path | None:
        """The weights of the labelling network, which is trained once; None if there are no labels or no metric needs them."""
        if self.kind != "segment" or not set(LABEL_METRICS) & set(self.metrics):
            return None
        plain = Variant("labeller")
        rows = [{**row, "split": "train"} for row in self.labeller_rows]
        data = write_dataset(rows, self.kind, self.out / "data" / "labeller") if rows else self.data(plain)
        return train_labeller(data, self.config(plain, 0), self.scale.labeller_steps, self.out / "labeller.safetensors")


Task = tuple[Experiment, Variant, int]
"""An experiment, a variant and a seed."""


def run(experiment: Experiment, variants: Sequence[Variant], jobs: int = 1) -> list[Figures]:
    """The figures of every variant and seed, in this order. Existing models and results are kept."""
    experiment.labeller()
    experiment.test_clips()
    tasks = [(experiment, variant, seed) for variant in variants for seed in range(experiment.scale.seeds)]
    needed = [
        (experiment, other, seed) for _, variant, seed in tasks for other in (variant.start, variant.label_predictor) if other is not None
    ]
    rounds = [_models([*needed, *(task for task in tasks if task[1].start is None)]), _models(tasks)]
    if jobs == 1:
        for task in chain.from_iterable(rounds):
            train_variant(*task)
        return [evaluate_variant(*task) for task in tasks]
    threads = max(1, torch.get_num_threads() // jobs)
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), torch.set_num_threads, (threads,)) as pool:
        for models in rounds:
            list(pool.map(train_variant, *zip(*models, strict=True)))
        return list(pool.map(evaluate_variant, *zip(*tasks, strict=True)))


def _models(tasks: Sequence[Task]) -> list[Task]:
    """One task for each model of these tasks."""
    return list({(model_folder(variant), seed): (experiment, variant, seed) for experiment, variant, seed in tasks}.values())


def train_variant(experiment: Experiment, variant: Variant, seed: int) -> Path:
    """Train a variant, or resume its training, unless it is finished. Returns the path of the model."""
    folder = experiment.out / "models" / model_folder(variant) / f"seed-{seed}"
    config = experiment.config(variant, seed)
    final = folder / f"snapshot-{config.steps:08d}.safetensors"
    done = folder / "done.json"
    data = experiment.data(variant)
    start = train_variant(experiment, variant.start, seed) if variant.start else None
    known = {"config": config.to_json(), "clips": (data / "clips.ndjson").read_text()}
    wanted = json.loads(json.dumps(known | ({"start": file_sha256(start)} if start else {})))
    if done.exists() and final.exists() and json.loads(done.read_text()) == wanted:
        return final
    log(f"training {variant.model or variant.name}, seed {seed}: {config.steps} steps")
    options = TrainOptions(data, experiment.device, LoggingSettings(save_seconds=120), start=start)
    train(config, options, folder, event=lambda row: log(row["message"]) if "message" in row else None)
    write_atomically(done, json.dumps(wanted).encode())
    for state in folder.glob("state-*.pt"):
        state.unlink()  # a finished run is not resumed
    return final


def evaluate_variant(experiment: Experiment, variant: Variant, seed: int) -> Figures:
    """Synthesize the videos of all held-out clips with a variant's model, and measure them."""
    snapshot = train_variant(experiment, variant, seed)
    model = load_model(snapshot)
    folder = experiment.out / "results" / variant.folder / f"seed-{seed}"
    options = {
        "num_examples": 1,
        "normalize": "off",
        "crop": "none",
        "size": "model",
        "precision": "fp32",
        "device": experiment.device,
        **variant.synthesis,
    }
    triples = []
    for row, examples, reference in experiment.test_clips():
        out = folder / f"{row['id']}.clip"
        driving = _driving_clip(experiment, variant, seed, examples, reference, folder / "driving" / out.name)
        start = examples if variant.continues else None
        synthesize([examples] if model.config.few_shot else [], driving, model, out, SynthesizeOptions(**options), start=start)
        triples.append((open_clip(out), examples, reference))
    labeller = experiment.labeller()
    if experiment.last:
        folder = folder / f"last-{experiment.last}"
        triples = [_last_frames(triple, experiment.last, folder) for triple in triples]
    file, key = folder / "figures.json", [clip.frames_digest() for triple in triples for clip in triple]
    key += [file_sha256(labeller)] if labeller else []
    size = sum(p.numel() for p in model.generator.parameters())
    known = Figures(variant=variant.name, seed=seed, parameters=size, minutes=training_minutes(snapshot.parent))
    if file.exists() and (content := json.loads(file.read_text()))["key"] == key:
        known = Figures(**content["figures"])
    missing = [metric for metric in experiment.metrics if metric not in known.values]
    if missing:
        log(f"evaluating {variant.name}, seed {seed}: {', '.join(missing)}")
        known = known.updated_with(score(triples, missing, labeller, experiment.device))
        write_atomically(file, json.dumps({"key": key, "figures": asdict(known)}, indent=1).encode())
    return known.restricted_to(experiment.metrics)


def _driving_clip(experiment: Experiment, variant: Variant, seed: int, examples: Clip, reference: Clip, out: Path) -> Clip:
    """The driving clip of a variant; if it has to be made, it is written to `out`."""
    if variant.make_driving is not None:
        return variant.make_driving(examples, reference, out)
    if variant.label_predictor is None:
        return reference
    model = load_model(train_variant(experiment, variant.label_predictor, seed))
    predict(examples, model, out, PredictOptions(reference.num_frames, device=experiment.device))
    return open_clip(out)


def _last_frames(triple: Triple, count: int, folder: Path) -> Triple:
    """A triple of the last `count` frames of the result and of the reference."""
    result, examples, reference = triple
    clips = {"result": result, "reference": reference}
    paths = {name: folder / name / f"{result.path.stem}.clip" for name in clips}
    for name, clip in clips.items():
        create_clip(paths[name], clip.frames(max(0, clip.num_frames - count)), fps=clip.fps, overwrite=True)
    return open_clip(paths["result"]), examples, open_clip(paths["reference"])


def training_minutes(run: Path) -> float:
    """Duration of a training run, including validation at milestones."""
    rows = [json.loads(line) for line in (run / "speed.ndjson").read_text(encoding="utf-8").splitlines()]
    return sum(row["seconds"] for row in rows) / 60


def model_folder(variant: Variant) -> str:
    """The name of the folder of the variant's model."""
    return slug(variant.model) or variant.folder


def slug(name: str) -> str:
    """A name in lower case with hyphens, for a folder."""
    return "-".join("".join(c if c.isalnum() else " " for c in name.lower()).split())


def log(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
