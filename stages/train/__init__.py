"""fsv2v train: trains a model on a dataset, on one device or several. A run can be stopped at any moment and resumed."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from stages.compute.devices import choose_device, reproducible
from stages.errors import add_prefix
from stages.flow.teacher import choose_teacher
from stages.io.files import exclusive_lock
from stages.models import load_base, load_model
from stages.models.perceptual import open_distance
from stages.train.appearance import fit_appearance
from stages.train.board import TensorBoardWriter
from stages.train.budget import plan, seconds_per_step
from stages.train.config import Phase, TrainConfig
from stages.train.data import Dataset
from stages.train.loop import Event, LoggingSettings, Run
from stages.train.parallel import ProcessGroup, join, leave, local_device
from stages.train.recipes import read_recipe
from stages.train.state import RunFolder
from stages.train.trainer import ComputeSettings, Trainer
from stages.train.validation import Validation

__all__ = ["ComputeSettings", "LoggingSettings", "Phase", "TrainConfig", "TrainOptions", "read_recipe", "train"]


@dataclass(frozen=True)
class TrainOptions:
    """Paths, and settings that are not part of the recipe."""

    data: Path
    """The folder of the dataset."""
    device: str = "auto"
    logging: LoggingSettings = field(default_factory=LoggingSettings)
    compute: ComputeSettings = field(default_factory=ComputeSettings)
    flow_model: str | None = None
    """An ONNX file of the flow estimator that supervises the flow; None: DIS."""
    start: Path | None = None
    """A model, or the folder of a run, whose weights are the initial ones; None: they are random."""
    board: bool = False
    """Whether the log is also written for TensorBoard."""


def train(config: TrainConfig, options: TrainOptions, out: Path, *, overwrite: bool = False, event: Event = lambda row: None) -> Path:
    """Train in the folder `out`, or resume the run there if it has the same settings. Returns the path of the final snapshot.

    Under torchrun each process computes its part of every batch, and the main process writes. `event` receives rows of the log and
    messages (see `stages.train.loop.Event`).

    Raises InputError (no dataset), ParametersDiffer (`out` contains a run with other settings), UsageError (another process trains in
    `out`, a batch has fewer samples than there are processes, or the budget is too short), MissingRequirement (weights of the perceptual
    loss or of the flow estimator), Fsv2vError (training does not converge).
    """
    begun = time.monotonic()
    world = join(options.device)
    try:
        with exclusive_lock(out, inside=True) if world.is_main else contextlib.nullcontext():
            device = choose_device(local_device(world, options.device))
            with reproducible(device):
                snapshot = _train(config, options, RunFolder(out), world, device, begun, overwrite, event)
        world.wait()  # if another process failed at exit now, torchrun would kill the main process, which may still be writing
        return snapshot
    finally:
        leave(world)


def _train(
    config: TrainConfig,
    options: TrainOptions,
    folder: RunFolder,
    world: ProcessGroup,
    device: torch.device,
    begun: float,
    overwrite: bool,
    event: Event,
) -> Path:
    world.part(min(phase.batch for phase in config.phases))  # raises UsageError now if there are too many processes for a later phase
    teacher = choose_teacher(model=options.flow_model)
    config = replace(config, flow_teacher=teacher.identity)
    start = None if options.start is None else load_model(options.start)
    if start is not None:
        config = replace(config, start=start.sha256)
    network, base = load_base(config.generator)
    config = replace(config, generator=network)
    estimator = teacher.open(options.device)

    def report_unreadable(path: Path, reason: str) -> None:
        event({"message": add_prefix(f"other clips take the place of {path}: ", reason)})

    data = Dataset(options.data, config.generator.kind, "train", estimator, report_unreadable)
    config = replace(config, generator=config.generator.for_labels(data.label_names()))
    validation = Dataset(options.data, config.generator.kind, "val", estimator, report_unreadable)
    distance = open_distance(config.perceptual, device, config.perceptual_scales)
    if config.budget is not None:  # no variable holds the trial trainer, so that its memory is freed before the next one is made
        config = _plan_schedule(
            config, Trainer(config, device, distance, options.compute, world, base), data, validation, folder, overwrite, begun
        )
    if world.is_main:
        folder.claim(config, str(options.data), overwrite=overwrite)
    trainer = Trainer(config, device, distance, options.compute, world, base)
    if start is not None:
        taken, total = trainer.initialise_from(start.generator.state_dict())
        event({"message": f"{taken} of {total} tensors are those of {start.path}"})
    tensorboard = TensorBoardWriter(folder.path) if options.board and world.is_main else None
    return Run(trainer, data, validation, folder, options.logging, event, tensorboard).train()


def _plan_schedule(
    config: TrainConfig, trial: Trainer, data: Dataset, validation: Dataset, folder: RunFolder, overwrite: bool, begun: float
) -> TrainConfig:
    """The configuration with phases for its budget: those of the run in `folder`, if it has the same budget, else new ones.

    The trainer `trial` is used only to measure the speed; this changes its weights.
    begun: when the budget began, in seconds of `time.monotonic`.
    """
    assert config.budget is not None
    lengths = trial.world.broadcast(None if overwrite else folder.planned_lengths(config))
    if lengths is None:
        per_step = seconds_per_step(trial, data)
        milestone_begun = time.monotonic()
        Validation(validation, config, trial.device, trial.perceptual)(trial.generator, config.bfloat16)
        fit_appearance(trial.generator, data, trial.device)
        per_milestone = time.monotonic() - milestone_begun
        remaining = config.budget - (time.monotonic() - begun)
        lengths = trial.world.broadcast([phase.steps for phase in plan(config, remaining, per_step, per_milestone).phases])
    return config.with_lengths(lengths)
