"""Plans a schedule for a given time. Each phase keeps its share of the time."""

from __future__ import annotations

import time
from dataclasses import replace

from stages.errors import UsageError
from stages.train.config import TrainConfig
from stages.train.data import Dataset, Prefetcher
from stages.train.trainer import Trainer

TIMED_STEPS = 3
"""Number of steps that are timed in each phase, after a first step that is not timed."""
RESERVE = 0.05
"""Share of the time that is left for saving and for unforeseen delays."""


def seconds_per_step(trainer: Trainer, data: Dataset) -> list[float]:
    """Seconds that a step of each phase takes on this machine, with loading and without compilation. The weights of the trainer change."""
    seconds = []
    for phase in trainer.config.phases:
        trainer.config = replace(trainer.config, phases=(replace(phase, steps=1 + TIMED_STEPS),))
        trainer.step = 0
        if trainer.compute.compile:  # compiles for each number of examples that the timed steps will have
            for step in range(1 + TIMED_STEPS):
                batch = data.batch(trainer.config, step, phase, trainer.world.part(phase.batch))
                trainer.train_step(batch.to(trainer.device), phase)
        batches = Prefetcher(data, trainer.config, 0, trainer.world)
        try:
            trainer.train_step(batches.next().to(trainer.device), phase)
            begun = time.monotonic()
            for _ in range(TIMED_STEPS):
                trainer.train_step(batches.next().to(trainer.device), phase)
            seconds.append((time.monotonic() - begun) / TIMED_STEPS)
        finally:
            batches.close()
    return seconds


def plan(config: TrainConfig, seconds: float, per_step: list[float], per_milestone: float) -> TrainConfig:
    """The same phases with other numbers of steps, so that the run with its milestones takes `seconds`.

    per_step: seconds of a step of each phase. per_milestone: seconds of a milestone. Raises UsageError when the time is too short for one
    step of each phase.
    """
    usable = seconds * (1 - RESERVE)
    without_milestones = config.with_lengths(_lengths(config, per_step, usable))
    planned = config.with_lengths(_lengths(config, per_step, usable - per_milestone * len(without_milestones.milestones)))
    step_seconds = sum(phase.steps * cost for phase, cost in zip(planned.phases, per_step, strict=True))
    needed = per_milestone * len(planned.milestones) + step_seconds
    if needed > seconds:
        raise UsageError(f"{seconds:.0f} seconds are not enough for this recipe here", hint=f"It needs {needed:.0f} at the very least")
    return planned


def _lengths(config: TrainConfig, per_step: list[float], seconds: float) -> list[int]:
    """The steps of each phase, scaled so that they take `seconds` together; at least one."""
    total = sum(phase.steps * cost for phase, cost in zip(config.phases, per_step, strict=True))
    return [max(1, int(phase.steps * seconds / total)) for phase in config.phases]
