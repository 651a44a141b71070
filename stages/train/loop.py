"""The training loop: steps, log, milestones, saving, and returns to an earlier state."""

from __future__ import annotations

import math
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from stages.errors import InputError
from stages.models import save_model
from stages.train.appearance import fit_appearance
from stages.train.batch import Batch
from stages.train.board import TensorBoardWriter
from stages.train.config import Phase
from stages.train.data import Dataset, Prefetcher
from stages.train.guard import MIN_RETURN_STEPS
from stages.train.samples import write_sheet
from stages.train.state import RunFolder
from stages.train.trainer import Trainer
from stages.train.validation import Validation

Event = Callable[[dict[str, Any]], None]
"""Receives each row of the log, and messages as {"message": sentence}."""
SHEET_WINDOWS = 6
"""Number of windows on a sample sheet."""


@dataclass(frozen=True)
class LoggingSettings:
    """How often a run writes its log and its state; this does not change the result."""

    log_every: int = 20
    """Steps between two rows of the log."""
    save_seconds: float = 240.0
    """Seconds between two states."""


@dataclass
class Interval:
    """Sums of the terms of the objective since the last row of the log."""

    sums: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    steps: int = 0
    left_out: int = 0
    """Number of steps that are not in the sums, because a term was not finite."""

    def add(self, terms: Mapping[str, float]) -> None:
        """Add the terms of a step."""
        if not all(map(math.isfinite, terms.values())):
            self.left_out += 1
            return
        self.steps += 1
        for name, value in terms.items():
            self.sums[name] += value

    def row(self) -> dict[str, float]:
        """The mean of each term, and the number of steps that were left out, if any."""
        means = {name: round(value / self.steps, 6) for name, value in self.sums.items()}
        return {**means, "left_out": self.left_out} if self.left_out else means


@dataclass
class Clock:
    """Speed since the last row of the log, and memory of this process. Both differ between runs with the same settings."""

    begun: float = field(default_factory=time.monotonic)
    waited: float = 0.0
    """Seconds of waiting for batches."""
    images: int = 0
    """Number of training images of all processes."""

    def row(self, device: torch.device) -> dict[str, float]:
        """The figures as in speed.ndjson."""
        seconds = time.monotonic() - self.begun
        memory = round(_memory(device) / 2**20)
        return {"seconds": round(seconds, 3), "waited": round(self.waited, 3), "pictures": self.images, "memory_mb": memory}


class Run:
    """One run in its folder."""

    def __init__(
        self,
        trainer: Trainer,
        data: Dataset,
        held_out: Dataset,
        folder: RunFolder,
        logging: LoggingSettings,
        event: Event,
        tensorboard: TensorBoardWriter | None = None,
    ) -> None:
        self.trainer, self.data, self.folder, self.logging = trainer, data, folder, logging
        self.event, self.tensorboard = event, tensorboard
        self.config, self.world = trainer.config, trainer.world
        self.held_out = held_out
        self.checks: tuple[float, Validation, Batch] | None = None
        """Scale, validation and windows of the sample sheets for the scale that is being trained; see `_checks_at`."""
        self.interval, self.clock = Interval(), Clock()
        self.best: dict[str, float] = {}
        """Step, value and scale of the best snapshot; see `_keep_best`."""

    def _checks_at(self, scale: float) -> tuple[Validation, Batch]:
        """The validation and the windows of the sample sheets at a scale. They are made again for each new scale."""
        if self.checks is None or self.checks[0] != scale:
            trainer = self.trainer
            validation = Validation(self.held_out, self.config, trainer.device, trainer.perceptual, scale)
            self.checks = scale, validation, self._draw_sheet_windows(scale).to(trainer.device)
        return self.checks[1:]

    def _draw_sheet_windows(self, scale: float) -> Batch:
        """The windows of the sample sheets: single frames, with `max_examples` examples but at most four.

        Models that predict label maps get windows of the largest length that occurs in training, after real frames.
        """
        config, phase = replace(self.config, jitter=0.0), Phase(1, batch=SHEET_WINDOWS, scale=scale)
        if config.generator.makes_labels:
            config, phase = replace(config, real_past=1.0), replace(phase, frames=max(config.max_generated_frames, 2))
        return self.held_out.batch(config, 0, phase, examples=min(config.max_examples, 4))

    def train(self) -> Path:
        """Train from the newest state in the folder to the end of the schedule. Returns the path of the final snapshot."""
        milestones = set(self.config.milestones)
        if not self._resume():
            self._write_milestone()
        batches, saved = self._start_batches(), time.monotonic()
        try:
            while self.trainer.step < self.config.steps:
                if reason := self._step(batches):
                    self._go_back(reason)
                    batches.close()
                    batches = self._start_batches()
                elif self.trainer.step in milestones:
                    self._write_milestone()
                    saved = time.monotonic()
                elif time.monotonic() - saved > self.logging.save_seconds:
                    self._save()
                    saved = time.monotonic()
        finally:
            batches.close()
        return self.folder.snapshot(self.trainer.step)

    def _step(self, batches: Prefetcher) -> str:
        """Train one step and log it. Returns the reason why the run must return to an earlier state, or ""."""
        trainer, begun = self.trainer, time.monotonic()
        phase = self.config.phase_at(trainer.step)
        batch = batches.next().to(trainer.device)
        self.clock.waited += time.monotonic() - begun
        result = trainer.train_step(batch, phase)
        self.clock.images += phase.batch * phase.frames
        if result.reason:
            return result.reason
        self.interval.add(result.terms)
        if trainer.step % self.logging.log_every == 0 or trainer.step == self.config.steps:
            self._log({"step": trainer.step, "frames": phase.frames, "size": self.config.size_of(phase)[0], **self.interval.row()})
            self.interval = Interval()
        return ""

    def _log(self, row: dict[str, Any]) -> None:
        """Write a row of the log and report it. A row with the terms of training is accompanied by a row of speed.ndjson."""
        if not self.world.is_main:
            return
        self._try_to_write(lambda: self.folder.log(row))
        if self.tensorboard is not None:
            self.tensorboard.row(row)
        if "validation" in row:
            self.event({**row, "steps": self.config.steps})
            return
        speed = self.clock.row(self.trainer.device)
        self._try_to_write(lambda: self.folder.log_speed({"step": row["step"], **speed, "rate": self.trainer.rate}))
        self.event({**row, "steps": self.config.steps, **speed})
        self.clock = Clock()

    def _write_milestone(self) -> None:
        """Validate the model, and write a sample sheet, a snapshot and a state; only in the main process."""
        if not self.world.is_main:
            return
        trainer = self.trainer
        scale = self.config.phase_at(max(trainer.step - 1, 0)).scale
        validate, windows = self._checks_at(scale)
        with trainer.averaged_generator() as generator:
            figures = validate(generator, self.config.bfloat16)
            mixtures = fit_appearance(generator, self.data, trainer.device)
            sheet = self.folder.path / "samples" / f"{trainer.step:08d}.png"
            self._try_to_write(lambda: write_sheet(sheet, generator, windows))
        self._log({"step": trainer.step, "validation": figures})
        self._keep_best(figures, scale)
        info = {"step": trainer.step, "training": self.config.to_json(), "validation": figures}
        info |= {"appearance": mixtures} if mixtures else {}
        model = self.folder.snapshot(trainer.step)
        if trainer.step in (0, self.config.steps):  # the run cannot do without the first and the final state, so a full disk is an error
            save_model(model, trainer.average, self.config.generator, info)
            self.folder.save_state(trainer.step, self._state(), self.config.milestones)
        else:
            self._try_to_write(lambda: save_model(model, trainer.average, self.config.generator, info))
            self._save()
        self.folder.remove_old_snapshots(keep={int(self.best["step"])})

    def _keep_best(self, figures: dict[str, float], scale: float) -> None:
        """Remember this step if its figures are the best at its scale: by the perceptual distance if there is one, else by miou or psnr."""
        value = figures["perceptual"] if "perceptual" in figures else -figures["miou" if "miou" in figures else "psnr"]
        if not self.best or value < self.best["value"] or scale != self.best.get("scale", scale):
            self.best = {"step": self.trainer.step, "value": value, "scale": scale}

    def _save(self) -> None:
        if self.world.is_main:
            self._try_to_write(lambda: self.folder.save_state(self.trainer.step, self._state(), self.config.milestones))

    def _state(self) -> dict[str, Any]:
        interval = {"sums": dict(self.interval.sums), "steps": self.interval.steps, "left_out": self.interval.left_out}
        return {**self.trainer.state(), "interval": interval, "best": self.best}

    def _try_to_write(self, write: Callable[[], object]) -> None:
        """Call `write`. If the disk is full, report it and continue, so that only this file is lost."""
        try:
            write()
        except InputError as error:
            self.event({"message": f"{error}. Training goes on without this file"})

    def _resume(self) -> bool:
        """Load the newest state; False if there is none. Later rows are removed from the log, because they will be written again."""
        state = self.world.broadcast(self.folder.latest_state() if self.world.is_main else None)
        if state is not None:
            self._load(state)
        if self.world.is_main:
            self.folder.cut_log(-1 if state is None else self.trainer.step, self.trainer.guard.history)
        return state is not None

    def _load(self, state: dict[str, Any]) -> None:
        self.trainer.load(state)
        self.interval, self.best = Interval(**state["interval"]), state["best"]
        self.interval.sums = defaultdict(float, self.interval.sums)

    def _go_back(self, reason: str) -> None:
        """Return to the last good milestone, with a lower learning rate and other batches."""
        step, guard = self.trainer.step, self.trainer.guard
        state = self.world.broadcast(
            self.folder.state_to_return_to(step - MIN_RETURN_STEPS, self.config.milestones) if self.world.is_main else None
        )
        assert state is not None
        self._load(state)
        self.trainer.guard = guard.after_return(reason, step, self.trainer.step)
        rate = f"{self.trainer.guard.rate:.2g} times the learning rate of the recipe"
        self.event({"message": f"at step {step} {reason}: going back to step {self.trainer.step}, with {rate}"})
        if self.world.is_main:
            self.folder.remove_after(self.trainer.step)
            self._save()
            self.folder.cut_log(self.trainer.step, self.trainer.guard.history)

    def _start_batches(self) -> Prefetcher:
        """Start to make the batches from the current step on."""
        return Prefetcher(self.data, self.config, self.trainer.step, self.world, self.trainer.guard.returns, self.trainer.compute.prefetch)


def _memory(device: torch.device) -> int:
    """The largest memory that this process has used so far, in bytes: GPU memory for a GPU, else main memory."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:  # not a POSIX system
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
