"""The training loop, top to bottom."""

from __future__ import annotations

import math
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
from stages.train.board import Board
from stages.train.config import Phase
from stages.train.data import Dataset, Prefetcher
from stages.train.guard import LATEST_GOOD
from stages.train.samples import write_sheet
from stages.train.state import RunFolder
from stages.train.trainer import Trainer
from stages.train.validation import Validation

Event = Callable[[dict[str, Any]], None]
"""Told of each row of the log, and of {"message": sentence}."""
SHEET = 6
"""Windows on a sample sheet."""


@dataclass(frozen=True)
class LoggingSettings:
    """How often things are written; nothing of it changes what a run learns."""

    log_every: int = 20
    save_seconds: float = 240.0


@dataclass
class Interval:
    """What happened since the last row of the log."""

    sums: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    steps: int = 0
    left_out: int = 0
    """Steps whose loss was not finite; nothing was learnt from them."""

    def add(self, terms: Mapping[str, float]) -> None:
        if not all(map(math.isfinite, terms.values())):
            self.left_out += 1
            return
        self.steps += 1
        for name, value in terms.items():
            self.sums[name] += value

    def row(self) -> dict[str, float]:
        """The mean of each term, and how many steps were left out, if any."""
        means = {name: round(value / self.steps, 6) for name, value in self.sums.items()}
        return {**means, "left_out": self.left_out} if self.left_out else means


@dataclass
class Clock:
    """Time of this process since the last row: what differs between two runs of the same settings."""

    begun: float = field(default_factory=time.monotonic)
    waited: float = 0.0
    images: int = 0

    def row(self, device: torch.device) -> dict[str, float]:
        seconds = time.monotonic() - self.begun
        memory = round(_memory(device) / 2**20)
        return {"seconds": round(seconds, 3), "waited": round(self.waited, 3), "pictures": self.images, "memory_mb": memory}


class Run:
    """One run in its folder."""

    def __init__(
        self,
        trainer: Trainer,
        data: Dataset,
        validation: Dataset,
        folder: RunFolder,
        logging: LoggingSettings,
        event: Event,
        board: Board | None = None,
    ) -> None:
        self.trainer, self.data, self.folder, self.logging, self.event, self.board = trainer, data, folder, logging, event, board
        self.config, self.world = trainer.config, trainer.world
        self.validation = Validation(validation, self.config, trainer.device, trainer.perceptual) if self.world.is_main else None
        self.sheet = self._sheet(validation).to(trainer.device) if self.world.is_main else None
        self.interval, self.clock = Interval(), Clock()
        self.best: dict[str, float] = {}

    def _sheet(self, validation: Dataset) -> Batch:
        """What the sample sheets show: single frames, made from as many examples as training sees at most, up to four.

        Of label maps the future as far ahead as training goes.
        """
        config, phase = replace(self.config, jitter=0.0), Phase(1, batch=SHEET)
        if config.generator.makes_labels:
            config, phase = replace(config, given=1.0), replace(phase, frames=max(config.longest, 2))
        return validation.batch(config, 0, phase, examples=min(config.max_examples, 4))

    def to_the_end(self) -> Path:
        """Train until the schedule is done, going on from the newest state in the folder. Returns the final snapshot's path."""
        milestones = set(self.config.milestones)
        if not self._resume():
            self._milestone()
        batches, saved = self._batches(), time.monotonic()
        try:
            while self.trainer.step < self.config.steps:
                if reason := self._step(batches):
                    self._go_back(reason)
                    batches.close()
                    batches = self._batches()
                elif self.trainer.step in milestones:
                    self._milestone()
                    saved = time.monotonic()
                elif time.monotonic() - saved > self.logging.save_seconds:
                    self._save()
                    saved = time.monotonic()
        finally:
            batches.close()
        return self.folder.snapshot(self.trainer.step)

    def _step(self, batches: Prefetcher) -> str:
        """One step, and its share in the log. Returns why the run must go back, or nothing."""
        trainer, asked = self.trainer, time.monotonic()
        phase = self.config.phase_at(trainer.step)
        batch = batches.next().to(trainer.device)
        self.clock.waited += time.monotonic() - asked
        done = trainer.train_step(batch, phase)
        self.clock.images += phase.batch * phase.frames
        if done.reason:
            return done.reason
        self.interval.add(done.terms)
        if trainer.step % self.logging.log_every == 0 or trainer.step == self.config.steps:
            self._log({"step": trainer.step, "frames": phase.frames, "size": self.config.size_of(phase)[0], **self.interval.row()})
            self.interval = Interval()
        return ""

    def _log(self, row: dict[str, Any]) -> None:
        if not self.world.is_main:
            return
        self._guarded(lambda: self.folder.log(row))
        if self.board is not None:
            self.board.row(row)
        if "validation" in row:
            self.event({**row, "steps": self.config.steps})
            return
        speed = self.clock.row(self.trainer.device)
        self._guarded(lambda: self.folder.log_speed({"step": row["step"], **speed, "rate": self.trainer.rate}))
        self.event({**row, "steps": self.config.steps, **speed})
        self.clock = Clock()

    def _milestone(self) -> None:
        """The run is judged, shown, and made something to use and to go back to."""
        if self.validation is None or self.sheet is None:
            return
        trainer, shown = self.trainer, self.sheet
        with trainer.averaged() as generator:
            figures = self.validation(generator, self.config.bfloat16)
            mixtures = fit_appearance(generator, self.data, trainer.device)
            sheet = self.folder.path / "samples" / f"{trainer.step:08d}.png"
            self._guarded(lambda: write_sheet(sheet, generator, shown))
        self._log({"step": trainer.step, "validation": figures})
        self._keep_best(figures)
        info = {"step": trainer.step, "training": self.config.to_json(), "validation": figures}
        info |= {"appearance": mixtures} if mixtures else {}
        model = self.folder.snapshot(trainer.step)
        if trainer.step in (0, self.config.steps):  # what the run can always go back to, and what it is for: a full disk is an error here
            save_model(model, trainer.average, self.config.generator, info)
            self.folder.save_state(trainer.step, self._state(), self.config.milestones)
        else:
            self._guarded(lambda: save_model(model, trainer.average, self.config.generator, info))
            self._save()
        self.folder.forget_snapshots(keep={int(self.best["step"])})

    def _keep_best(self, figures: dict[str, float]) -> None:
        value = figures["perceptual"] if "perceptual" in figures else -figures["miou" if "miou" in figures else "psnr"]
        if not self.best or value < self.best["value"]:
            self.best = {"step": self.trainer.step, "value": value}

    def _save(self) -> None:
        if self.world.is_main:
            self._guarded(lambda: self.folder.save_state(self.trainer.step, self._state(), self.config.milestones))

    def _state(self) -> dict[str, Any]:
        interval = {"sums": dict(self.interval.sums), "steps": self.interval.steps, "left_out": self.interval.left_out}
        return {**self.trainer.state(), "interval": interval, "best": self.best}

    def _guarded(self, write: Callable[[], object]) -> None:
        """A full disk in the middle of a run costs what would have been written; training goes on."""
        try:
            write()
        except InputError as error:
            self.event({"message": f"{error}. Training goes on, and tries again at the next save"})

    def _resume(self) -> bool:
        """Go on from the newest state; False if there is none. What the log says of what came after it will be said again."""
        state = self.world.share(self.folder.latest_state() if self.world.is_main else None)
        if state is not None:
            self._load(state)
        if self.world.is_main:
            self.folder.keep_log_until(-1 if state is None else self.trainer.step, self.trainer.guard.history)
        return state is not None

    def _load(self, state: dict[str, Any]) -> None:
        self.trainer.load(state)
        self.interval, self.best = Interval(**state["interval"]), state["best"]
        self.interval.sums = defaultdict(float, self.interval.sums)

    def _go_back(self, reason: str) -> None:
        """To the last milestone that was well before the trouble, at a lower rate and with other batches."""
        wrong, guard = self.trainer.step, self.trainer.guard
        state = self.world.share(
            self.folder.state_to_go_back_to(wrong - LATEST_GOOD, self.config.milestones) if self.world.is_main else None
        )
        assert state is not None
        self._load(state)
        self.trainer.guard = guard.slower(reason, wrong, self.trainer.step)
        rate = f"{self.trainer.guard.rate:.2g} of the learning rate"
        message = f"at step {wrong} {reason}: going back to step {self.trainer.step}, with {rate}"
        self.event({"message": message})
        if self.world.is_main:
            self.folder.forget_states_after(self.trainer.step)
            self._save()
            self.folder.keep_log_until(self.trainer.step, self.trainer.guard.history)

    def _batches(self) -> Prefetcher:
        return Prefetcher(self.data, self.config, self.trainer.step, self.world, self.trainer.guard.returns, self.trainer.compute.prefetch)


def _memory(device: torch.device) -> int:
    """Bytes: the most that this process has used of the GPU's memory, or of the machine's."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:  # not a POSIX system
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
