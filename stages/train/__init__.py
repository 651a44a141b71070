"""fsv2v train: from a dataset folder to a model, resumable at any moment, on one device or many."""

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
from stages.models import load_model
from stages.models.perceptual import open_distance
from stages.train.appearance import fit_appearance
from stages.train.board import Board
from stages.train.budget import plan, seconds_per_step
from stages.train.config import Phase, TrainConfig
from stages.train.data import Dataset
from stages.train.loop import Event, LoggingSettings, Run
from stages.train.parallel import ProcessGroup, join, leave, own_device
from stages.train.recipes import read_recipe
from stages.train.state import RunFolder
from stages.train.trainer import ComputeSettings, Trainer
from stages.train.validation import Validation

__all__ = ["ComputeSettings", "LoggingSettings", "Phase", "TrainConfig", "TrainOptions", "read_recipe", "train"]


@dataclass(frozen=True)
class TrainOptions:
    """Where things are, and what does not change the result. flow_model: an ONNX file that teaches the flow in place of DIS."""

    data: Path
    device: str = "auto"
    logging: LoggingSettings = field(default_factory=LoggingSettings)
    compute: ComputeSettings = field(default_factory=ComputeSettings)
    flow_model: str | None = None
    start: Path | None = None
    """A model, or a run's folder, whose weights the run begins with."""
    board: bool = False
    """Write for TensorBoard, too."""


def train(config: TrainConfig, options: TrainOptions, out: Path, *, overwrite: bool = False, event: Event = lambda row: None) -> Path:
    """Train, or go on with the run in `out` when it was started with the same settings. Returns the path of the final snapshot.

    Under torchrun each process makes its part of every batch; the main one writes.

    Raises InputError (no dataset), ParametersDiffer (another run is in `out`), UsageError (another process trains it), MissingRequirement
    (perceptual weights, the flow's network), Fsv2vError (the run does not converge).
    """
    begun = time.monotonic()
    world = join(options.device)
    try:
        with exclusive_lock(out, inside=True) if world.is_main else contextlib.nullcontext():
            device = choose_device(own_device(world, options.device))
            with reproducible(device):
                made = _train(config, options, RunFolder(out), world, device, begun, overwrite, event)
        world.wait()  # torchrun ends them all when one that has left goes wrong on its way out, and the first may be writing still
        return made
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
    world.part(min(phase.batch for phase in config.phases))  # too many processes for the last phase are too many now
    teacher = choose_teacher(model=options.flow_model)
    config = replace(config, flow_teacher=teacher.identity)
    start = None if options.start is None else load_model(options.start)
    if start is not None:
        config = replace(config, start=start.sha256)
    estimate = teacher.open(options.device)

    def on_bad(path: Path, reason: str) -> None:
        event({"message": add_prefix(f"other clips take the place of {path}: ", reason)})

    data = Dataset(options.data, config.generator.kind, "train", estimate, on_bad)
    config = replace(config, generator=config.generator.for_labels(data.label_names()))
    validation = Dataset(options.data, config.generator.kind, "val", estimate, on_bad)
    distance = open_distance(config.perceptual, device, config.perceptual_scales)
    if config.budget is not None:  # nothing but the plan's own call holds its trainer, and with it the memory of another one
        config = _planned(config, Trainer(config, device, distance, options.compute, world), data, validation, folder, overwrite, begun)
    if world.is_main:
        folder.claim(config, str(options.data), overwrite=overwrite)
    trainer = Trainer(config, device, distance, options.compute, world)
    if start is not None:
        taken, whole = trainer.start_from(start.generator.state_dict())
        event({"message": f"{taken} of {whole} tensors are those of {start.path}"})
    board = Board(folder.path) if options.board and world.is_main else None
    return Run(trainer, data, validation, folder, options.logging, event, board).to_the_end()


def _planned(
    config: TrainConfig, trial: Trainer, data: Dataset, validation: Dataset, folder: RunFolder, overwrite: bool, begun: float
) -> TrainConfig:
    """The schedule for the budget: that of the run that is here, or one for the speed that is measured now."""
    assert config.budget is not None
    lengths = trial.world.share(None if overwrite else folder.planned(config))
    if lengths is None:
        per_step = seconds_per_step(trial, data)
        judged = time.monotonic()
        Validation(validation, config, trial.device, trial.perceptual)(trial.generator, config.bfloat16)
        fit_appearance(trial.generator, data, trial.device)
        judging = time.monotonic() - judged
        left = config.budget - (time.monotonic() - begun)
        lengths = trial.world.share([phase.steps for phase in plan(config, left, per_step, judging).phases])
    return config.lasting(lengths)
