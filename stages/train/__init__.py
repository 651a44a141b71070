"""fsv2v train: from a dataset folder to a model, resumable at any moment."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from stages.devices import choose_device
from stages.flow.teacher import choose_teacher
from stages.perceptual import open_distance
from stages.train.config import RECIPES, Phase, TrainConfig
from stages.train.data import Dataset
from stages.train.state import RunFolder
from stages.train.trainer import Event, Trainer, run

__all__ = ["RECIPES", "Phase", "TrainConfig", "TrainOptions", "train"]


@dataclass(frozen=True)
class TrainOptions:
    """Where things are, and what does not change the result. flow_model: an ONNX file that teaches the flow in place of DIS."""

    data: Path
    device: str = "auto"
    log_every: int = 20
    save_seconds: float = 240.0
    flow_model: str | None = None


def train(config: TrainConfig, options: TrainOptions, out: Path, *, overwrite: bool = False, event: Event = lambda row: None) -> Path:
    """Train, or go on with the run in `out` when it was started with the same settings. Returns the path of the final snapshot.

    Raises BadInput (no dataset), ParametersDiffer (another run is in `out`), MissingRequirement (perceptual weights, the flow's network).
    """
    teacher = choose_teacher(model=options.flow_model)
    config = replace(config, flow_teacher=teacher.identity)
    estimate = teacher.open(options.device)
    data = Dataset(options.data, config.generator.kind, "train", estimate)
    validation = Dataset(options.data, config.generator.kind, "val", estimate)
    folder = RunFolder(out)
    folder.claim(config, str(options.data), overwrite=overwrite)
    device = choose_device(options.device)
    trainer = Trainer(config, device, open_distance(config.perceptual, device, config.perceptual_scales))
    torch.use_deterministic_algorithms(device.type == "cpu", warn_only=True)
    return run(trainer, data, validation, folder, log_every=options.log_every, save_seconds=options.save_seconds, event=event)
