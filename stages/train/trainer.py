"""The training loop, top to bottom."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stages.errors import Fsv2vError
from stages.models import save_model
from stages.networks.excerpts import Past
from stages.networks.generator import FewShotGenerator, State
from stages.networks.objective import Discriminators, PerceptualDistance, Target, generator_losses
from stages.train.config import Phase, TrainConfig
from stages.train.data import Batch, Dataset, Prefetcher
from stages.train.samples import write_sheet
from stages.train.state import RunFolder

Event = Callable[[dict[str, Any]], None]
MOST_BAD_STEPS = 20


class Trainer:
    """One run: two players, their optimisers, and the running mean of the generator's weights."""

    def __init__(self, config: TrainConfig, device: torch.device, perceptual: PerceptualDistance | None) -> None:
        torch.manual_seed(config.seed)
        self.config, self.device, self.perceptual = config, device, perceptual
        self.generator = FewShotGenerator(config.generator).to(device)
        self.players = Discriminators(config.generator, config.players).to(device)
        self.average = {name: value.detach().clone() for name, value in self.generator.state_dict().items()}
        self.optimizer = torch.optim.Adam(self.generator.parameters(), config.learning_rate, config.betas)
        self.player_optimizer = torch.optim.Adam(self.players.parameters(), config.discriminator_rate, config.betas)
        self.step = 0
        self.bad_steps = 0

    def train_step(self, batch: Batch, phase: Phase) -> dict[str, float]:
        """One window: for each of its frames first the discriminators' step, then the generator's. Returns each term's mean."""
        torch.manual_seed(self.config.seed * 1_000_003 + self.step)
        self._set_rates()
        sums: dict[str, float] = defaultdict(float)
        state, past = None, Past([], [], [])
        for t in range(phase.frames):
            target = _target(batch, t)
            with self._autocast():
                code = self.generator.encode_examples(batch.example_images, batch.example_semantics)
                made = self.generator.synthesize(code, target.semantic, state)
            if phase.adversarial:
                sums["discriminator"] += self._discriminator_step(target, made.frame.detach(), past)
            with self._autocast():
                players = self.players.requires_grad_(False) if phase.adversarial else None
                terms = generator_losses(made, target, self.config.losses, self.perceptual, players, past)
            self._generator_step(terms)
            for name, value in terms.items():
                sums[name] += value.item()
            state = State(made.frame.detach(), target.semantic)
            flows = past.flows if target.flow is None else [*past.flows, target.flow]
            past = Past([*past.real, target.image], [*past.fake, state.frame], flows)
        self.step += 1
        return {name: value / phase.frames for name, value in sums.items()}

    def state(self) -> dict[str, Any]:
        """Everything that an exact resume needs. Batches and random numbers depend on the seed and the step alone."""
        return {
            "step": self.step, "generator": self.generator.state_dict(), "players": self.players.state_dict(), "average": self.average,
            "optimizer": self.optimizer.state_dict(), "player_optimizer": self.player_optimizer.state_dict(), "bad_steps": self.bad_steps,
        }  # fmt: skip

    def load(self, state: dict[str, Any]) -> None:
        self.step, self.bad_steps = state["step"], state["bad_steps"]
        self.generator.load_state_dict(state["generator"])
        self.players.load_state_dict(state["players"])
        self.average = {name: value.to(self.device) for name, value in state["average"].items()}
        self.optimizer.load_state_dict(state["optimizer"])
        self.player_optimizer.load_state_dict(state["player_optimizer"])

    @contextmanager
    def averaged(self) -> Iterator[FewShotGenerator]:
        """The generator with its running mean weights, for samples and validation."""
        own = {name: value.clone() for name, value in self.generator.state_dict().items()}
        self.generator.load_state_dict(self.average)
        try:
            yield self.generator.eval()
        finally:
            self.generator.load_state_dict(own)
            self.generator.train()

    def _discriminator_step(self, target: Target, fake: Tensor, past: Past) -> float:
        self.players.requires_grad_(True)
        with self._autocast():
            loss = self.players.loss(target, fake, past)
        self.player_optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if torch.isfinite(loss):
            self.player_optimizer.step()
        return loss.item()

    def _generator_step(self, terms: dict[str, Tensor]) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        torch.stack(list(terms.values())).sum().backward()
        norm = torch.nn.utils.clip_grad_norm_(self.generator.parameters(), self.config.clip_gradient)
        if not torch.isfinite(norm):
            self.bad_steps += 1
            if self.bad_steps > MOST_BAD_STEPS:
                raise Fsv2vError("training does not converge: losses are not finite", hint="lower learning_rate, or turn bfloat16 off")
            return
        self.bad_steps = 0
        self.optimizer.step()
        self._average_weights()

    @torch.no_grad()
    def _average_weights(self) -> None:
        keep = min(self.config.ema, (1 + self.step) / (10 + self.step))
        for name, value in self.generator.state_dict().items():
            self.average[name].lerp_(value, 1 - keep)

    def _set_rates(self) -> None:
        factor = self.config.rate_at(self.step)
        for optimizer, rate in ((self.optimizer, self.config.learning_rate), (self.player_optimizer, self.config.discriminator_rate)):
            for group in optimizer.param_groups:
                group["lr"] = rate * factor

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.bfloat16)


def run(
    trainer: Trainer, data: Dataset, validation: Dataset, folder: RunFolder, *, log_every: int, save_seconds: float, event: Event
) -> Path:
    """Train to the end of the schedule, going on from the newest state in `folder`. Returns the final snapshot's path."""
    config = trainer.config
    if (state := folder.latest_state()) is not None:
        trainer.load(state)
    folder.keep_log_until(trainer.step)
    batches = Prefetcher(data, config, trainer.step)
    sums: dict[str, float] = defaultdict(float)
    saved = clock = time.monotonic()
    waited = 0.0
    try:
        while trainer.step < config.steps:
            phase, asked = config.phase_at(trainer.step), time.monotonic()
            batch = batches.next().to(trainer.device)
            waited += time.monotonic() - asked
            for name, value in trainer.train_step(batch, phase).items():
                sums[name] += value
            now, last = time.monotonic(), trainer.step == config.steps
            if trainer.step % log_every == 0 or last:
                count = (trainer.step - 1) % log_every + 1
                means = {name: round(value / count, 6) for name, value in sums.items()}
                row = {"step": trainer.step, "frames": phase.frames, "size": phase.size, **means}
                folder.log(row)
                pictures = count * phase.batch * phase.frames
                event({**row, "steps": config.steps, "seconds": now - clock, "waited": waited, "pictures": pictures})
                sums.clear()
                clock, waited = now, 0.0
            if (now - saved > save_seconds and trainer.step % log_every == 0) or last:
                _save(trainer, validation, folder)
                saved = time.monotonic()
    finally:
        batches.close()
    return folder.path / f"snapshot-{trainer.step:08d}.safetensors"


def _save(trainer: Trainer, validation: Dataset, folder: RunFolder) -> None:
    config = trainer.config
    info = {"step": trainer.step, "training": config.to_json()}
    save_model(folder.path / f"snapshot-{trainer.step:08d}.safetensors", trainer.average, config.generator, info)
    phase = Phase(1, size=config.generator.size[0], batch=6)
    batch = validation.batch(config, 0, phase).to(trainer.device)
    with trainer.averaged() as generator:
        write_sheet(folder.path / "samples" / f"{trainer.step:08d}.png", generator, batch)
    folder.save_state(trainer.step, trainer.state())
    for old in sorted(folder.path.glob("snapshot-*.safetensors"))[:-3]:
        old.unlink()


def _target(batch: Batch, t: int) -> Target:
    first = t == 0
    return Target(
        batch.images[:, t], batch.semantics[:, t], batch.example_images[:, 0], batch.keypoints[:, t], batch.example_keypoints,
        flow=None if first else batch.flows[:, t - 1],
        flow_confidence=None if first else batch.flow_confidence[:, t - 1],
    )  # fmt: skip
