"""A schedule for the time that there is: each phase keeps its share of it."""

from __future__ import annotations

import time
from dataclasses import replace

from stages.errors import UsageError
from stages.train.config import TrainConfig
from stages.train.data import Dataset, Prefetcher
from stages.train.trainer import Trainer

TRIED = 3
"""Steps that are timed in each phase, after one that is not."""
SPARE = 0.05
"""Share of the time for saving, and for what cannot be foreseen."""


def seconds_per_step(trainer: Trainer, data: Dataset) -> list[float]:
    """How long a step of each phase takes here, loading included, compiling not. The trainer is of no use afterwards."""
    found = []
    for phase in trainer.config.phases:
        trainer.config = replace(trainer.config, phases=(replace(phase, steps=1 + TRIED),))
        trainer.step = 0
        if trainer.compute.compile:  # for each number of examples that the timed steps will have
            for step in range(1 + TRIED):
                batch = data.batch(trainer.config, step, phase, trainer.world.part(phase.batch))
                trainer.train_step(batch.to(trainer.device), phase)
        batches = Prefetcher(data, trainer.config, 0, trainer.world)
        try:
            trainer.train_step(batches.next().to(trainer.device), phase)
            begun = time.monotonic()
            for _ in range(TRIED):
                trainer.train_step(batches.next().to(trainer.device), phase)
            found.append((time.monotonic() - begun) / TRIED)
        finally:
            batches.close()
    return found


def plan(config: TrainConfig, seconds: float, per_step: list[float], judging: float) -> TrainConfig:
    """The same phases, with so many steps that all of it, with its milestones, takes `seconds`.

    judging: seconds that a milestone takes. UsageError when there is no time for a step of each phase.
    """
    usable = seconds * (1 - SPARE)
    without = config.lasting(_lengths(config, per_step, usable))
    planned = config.lasting(_lengths(config, per_step, usable - judging * len(without.milestones)))
    needed = judging * len(planned.milestones) + sum(phase.steps * cost for phase, cost in zip(planned.phases, per_step, strict=True))
    if needed > seconds:
        raise UsageError(f"{seconds:.0f} seconds are not enough for this recipe here", hint=f"It needs {needed:.0f} at the very least")
    return planned


def _lengths(config: TrainConfig, per_step: list[float], seconds: float) -> list[int]:
    """Steps of each phase in proportion, one at least."""
    whole = sum(phase.steps * cost for phase, cost in zip(config.phases, per_step, strict=True))
    return [max(1, int(phase.steps * seconds / whole)) for phase in config.phases]
