"""One step of training: generator and discriminators learn from the frames of a window."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrize import is_parametrized
from torch.utils.checkpoint import checkpoint

from stages.networks.common.discriminator_inputs import Past
from stages.networks.common.frame import Frame
from stages.networks.common.generator import Generator, Synthesis
from stages.networks.common.objective import Discriminators, PerceptualDistance, Target
from stages.networks.common.residual import ResidualBlock
from stages.networks.families import find
from stages.train.batch import Batch
from stages.train.config import Phase, TrainConfig
from stages.train.guard import Guard
from stages.train.parallel import ProcessGroup

R1_EVERY = 16
"""The gradient penalty is computed every so many steps, with so many times its weight (StyleGAN 2's lazy regularisation)."""


@dataclass(frozen=True)
class ComputeSettings:
    """How steps are computed; all ways lead to the same result, up to rounding."""

    accumulate: int = 1
    """Number of parts that a batch is split into, to save memory."""
    checkpoint: bool = False
    """Activations are computed again for the gradients, to save memory."""
    compile: bool = False
    prefetch: int = 2
    """Number of batches prepared ahead, one thread each."""


@dataclass
class Window:
    """Part of a batch, and what was generated for it so far."""

    batch: Batch
    weight: float
    """Number of its samples divided by that of the whole batch of all processes."""
    previous: Frame | None = None
    """The last generated frame, as the generator's `past`."""
    history: Past = field(default_factory=lambda: Past([], [], []))

    def add(self, target: Target, made: Synthesis, generator: Generator) -> None:
        """Append the frame that was generated for `target`, or given."""
        self.previous = generator.remember(target.frame, made, self.previous)
        flows = self.history.flows if target.flow is None else [*self.history.flows, target.flow]
        self.history = Past([*self.history.real, target.image], [*self.history.fake, made.frame.detach()], flows)


class Stepped(NamedTuple):
    """What came of a step."""

    terms: dict[str, float]
    """Each term of the objective, the mean over frames and processes."""
    reason: str
    """Why the run must go back to its last good state; empty when all is well."""


class Trainer:
    """One run: generator, discriminators, their optimisers, the running mean of the generator's weights, and the guard."""

    def __init__(
        self, config: TrainConfig, device: torch.device, perceptual: PerceptualDistance | None, compute: ComputeSettings | None = None,
        world: ProcessGroup | None = None,
    ) -> None:  # fmt: skip
        torch.manual_seed(config.seed)
        self.config, self.device = config, device
        self.compute, self.world = compute or ComputeSettings(), world or ProcessGroup()
        self.perceptual = _recomputed(perceptual) if perceptual is not None and self.compute.checkpoint else perceptual
        self.family = find(config.generator.family)
        self.generator = self.family.build(config.generator).to(device)
        for module in self.generator.modules():  # a frame is computed again for its gradients (`_frame`), and within it each block
            if isinstance(module, ResidualBlock):
                module.recomputes = self.compute.checkpoint
        self.discriminators = Discriminators(config.generator, config.discriminators).to(device)
        self.discriminators.recomputes = self.compute.checkpoint
        self.average = _copies(self.generator.state_dict())
        self.optimizer = torch.optim.Adam(self.generator.parameters(), config.learning_rate, config.betas)
        self.discriminator_optimizer = torch.optim.Adam(self.discriminators.parameters(), config.discriminator_rate, config.betas)
        self.step = 0
        self.guard = Guard()
        self._encode: Callable[[Frame], Any] = self.generator.encode_examples
        self._synthesize: Callable[[Any, Frame, Frame | None], Synthesis] = self.generator.synthesize
        if self.compute.compile:
            self._encode, self._synthesize = torch.compile(self._encode, dynamic=False), torch.compile(self._synthesize, dynamic=False)

    def start_from(self, tensors: Mapping[str, Tensor]) -> tuple[int, int]:
        """Begin with another model's weights, where name and shape are the same. Returns how many tensors were taken, and of how many."""
        own = self.generator.state_dict()
        taken = {name: tensors[name] for name, value in own.items() if name in tensors and tensors[name].shape == value.shape}
        self.generator.load_state_dict({**own, **taken})
        self.average = _copies(self.generator.state_dict())
        return len(taken), len(own)

    def train_step(self, batch: Batch, phase: Phase) -> Stepped:
        """One window, `config.backprop_frames` of its frames at a time.

        Generator and discriminators learn from the same frames. The generator is judged by the discriminators as they were when the frames
        were made.
        """
        torch.manual_seed(self.config.seed * 1_000_003 + self.step)
        self._set_rates()
        if self.step == 0 or self.config.phase_at(self.step - 1) != phase:
            self._begin(phase)
        self.generator.learn_finest(self.config.size_of(phase)[0] if phase.finest_only else None)
        windows = [Window(part, len(part) / phase.batch) for part in batch.parts(self.compute.accumulate)]
        before = batch.num_frames - phase.frames
        for window in windows:
            self._roll_out(window, before)
        notes = Notes(self.device)
        finite = True
        for first in range(before, batch.num_frames, self.config.backprop_frames):
            frames = range(first, min(first + self.config.backprop_frames, batch.num_frames))
            self.optimizer.zero_grad(set_to_none=True)
            self.discriminator_optimizer.zero_grad(set_to_none=True)
            _renew_spectral_norms(self.generator)
            _renew_spectral_norms(self.discriminators)
            learnt = [self._learn(window, frames, phase, notes) for window in windows]
            finite &= self._update(phase, all(learnt))
        self.step += 1
        terms = notes.means(self.world, phase.frames)
        error, grey, saturation = (terms.pop(name) for name in ("_error", "_grey", "_saturation"))
        return Stepped(terms, self.guard.watch(error / max(grey, 1e-6), saturation, finite))

    @torch.no_grad()
    def _roll_out(self, window: Window, frames: int) -> None:
        """The first frames of a window: real ones where they are given, the others made as they would be in a long video."""
        for t in range(window.batch.given):
            target = window.batch.target(t)
            window.add(target, Synthesis(target.image, target.image), self.generator)
        if frames == window.batch.given:
            return
        with self._autocast():
            code = self.generator.encode_examples(window.batch.examples)
        for t in range(window.batch.given, frames):
            target = window.batch.target(t)
            with self._autocast():
                window.add(target, self.generator.synthesize(code, target.frame, window.previous), self.generator)

    def _learn(self, window: Window, frames: range, phase: Phase, notes: Notes) -> bool:
        """Adds the gradients of some frames of a part. Returns False, and adds none of the generator's, if the loss is not finite."""
        batch, total = window.batch, torch.zeros((), device=self.device)
        with self._autocast():
            code = None if phase.motion_only else self._encode(batch.examples)
        for t in frames:
            target = batch.target(t)
            made = self._frame(code, target.frame, window.previous) if code is not None else self._moved(batch.examples, target.frame)
            if phase.adversarial:
                judged = self._judge(target, made, window.history) * (window.weight / len(frames))
                judged.backward()
                notes.add("discriminator", judged.detach() * len(frames))
            with self._autocast():
                discriminators = self.discriminators.requires_grad_(False) if phase.adversarial else None
                terms = self.family.objective(made, target, self.config.losses, self.perceptual, discriminators, window.history)
            for name, value in terms.items():
                notes.add(name, value.detach() * window.weight)
            notes.watch(made, target.image, window.weight)
            total = total + torch.stack(list(terms.values())).sum() * (window.weight / len(frames))
            window.add(target, made, self.generator)
        assert window.previous is not None
        window.previous = window.previous.map(Tensor.detach)
        if not torch.isfinite(total):  # its gradients would crash grid_sample
            return False
        total.backward()
        return True

    def _frame(self, code: Any, driving: Frame, before: Frame | None) -> Synthesis:
        with self._autocast():
            if not self.compute.checkpoint:
                return self._synthesize(code, driving, before)
            made: Synthesis = checkpoint(self._synthesize, code, driving, before, use_reentrant=False)
            return made

    def _moved(self, examples: Frame, driving: Frame) -> Synthesis:
        with self._autocast():
            return self.generator.move(examples, driving)

    def _judge(self, target: Target, made: Synthesis, past: Past) -> Tensor:
        """The discriminators' loss."""
        self.discriminators.requires_grad_(True)
        with self._autocast():
            loss = self.discriminators.loss(target, made.frame.detach(), past, made.raw.detach())
        if self.config.r1 and self.step % R1_EVERY == 0:
            loss = loss + 0.5 * self.config.r1 * R1_EVERY * self.discriminators.penalty(target)
        return loss

    def _update(self, phase: Phase, learnt: bool) -> bool:
        """Both optimisers' step, unless a loss or a gradient of any process is not finite."""
        if self.world.sum(torch.tensor(float(not learnt), device=self.device)):
            return False
        self.world.sum_gradients(self.generator.parameters())
        norm = torch.nn.utils.clip_grad_norm_(self.generator.parameters(), self.config.clip_gradient)
        if phase.adversarial:
            self.world.sum_gradients(self.discriminators.parameters())
            norm = norm + sum(p.grad.abs().sum() for p in self.discriminators.parameters() if p.grad is not None)
        if not torch.isfinite(norm):
            return False
        self.optimizer.step()
        if phase.adversarial:
            self.discriminator_optimizer.step()
        self._average_weights()
        return True

    @torch.no_grad()
    def _average_weights(self) -> None:
        keep = min(self.config.ema, (1 + self.step) / (10 + self.step))
        for name, value in self.generator.state_dict().items():
            mean = self.average[name]
            if mean.is_floating_point():
                mean.lerp_(value, 1 - keep)
            else:
                mean.copy_(value)  # batch norm counts its batches

    def _set_rates(self) -> None:
        factor = self.config.rate_at(self.step) * self.guard.rate
        for optimizer, rate in (
            (self.optimizer, self.config.learning_rate),
            (self.discriminator_optimizer, self.config.discriminator_rate),
        ):
            for group in optimizer.param_groups:
                group["lr"] = rate * factor

    @property
    def rate(self) -> float:
        """The generator's present learning rate."""
        return float(self.optimizer.param_groups[0]["lr"])

    def _begin(self, phase: Phase) -> None:
        """A new phase."""
        self.guard.settled()
        if self.compute.compile:
            torch.compiler.reset()  # PyTorch compiles for eight shapes at most: here, one to four examples with and without a past
        alone = self.step == 0 or not self.config.phase_at(self.step - 1).has_past
        if phase.has_past and alone:
            self.generator.load_state_dict(self.generator.begin_windows(self.generator.state_dict()))
            self.average = _copies(self.generator.begin_windows(self.average))

    def state(self) -> dict[str, Any]:
        """Everything that an exact resume needs. Batches and random numbers depend on the seed, the step and the guard alone."""
        return {
            "step": self.step,
            "generator": self.generator.state_dict(),
            "players": self.discriminators.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "player_optimizer": self.discriminator_optimizer.state_dict(),
            "guard": self.guard.to_json(),
        }

    def load(self, state: dict[str, Any]) -> None:
        self.step, self.guard = state["step"], Guard(**state["guard"])
        self.generator.load_state_dict(state["generator"])
        self.discriminators.load_state_dict(state["players"])
        self.average = {name: value.to(self.device) for name, value in state["average"].items()}
        self.optimizer.load_state_dict(state["optimizer"])
        self.discriminator_optimizer.load_state_dict(state["player_optimizer"])

    @contextmanager
    def averaged(self) -> Iterator[Generator]:
        """The generator with its running mean weights, for samples and validation."""
        own = _copies(self.generator.state_dict())
        self.generator.load_state_dict(self.average)
        try:
            yield self.generator.eval()
        finally:
            self.generator.load_state_dict(own)
            self.generator.train()

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.bfloat16)


class Notes:
    """What is noted during a step; it stays on the device until the step is done, so that nothing waits for it."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.sums: dict[str, Tensor] = {}

    def add(self, name: str, value: Tensor) -> None:
        self.sums[name] = self.sums[name] + value if name in self.sums else value

    def watch(self, made: Synthesis, truth: Tensor, share: float) -> None:
        """What the guard wants to know."""
        with torch.no_grad():
            self.add("_error", F.l1_loss(made.frame, truth) * share)
            self.add("_grey", truth.abs().mean() * share)
            self.add("_saturation", (made.raw.abs() > 0.999).float().mean() * share)

    def means(self, world: ProcessGroup, frames: int) -> dict[str, float]:
        """Means over the frames, of all processes."""
        names = world.share(sorted(self.sums))
        zero = torch.zeros((), device=self.device)
        values = world.sum(torch.stack([self.sums.get(name, zero).float() for name in names]))
        return {name: value / frames for name, value in zip(names, values.tolist(), strict=True)}


@torch.no_grad()
def _renew_spectral_norms(network: nn.Module) -> None:
    """One power iteration; the norms then stay fixed until the next call."""
    for module in network.modules():
        if is_parametrized(module):
            norms = module.parametrizations
            assert isinstance(norms, nn.ModuleDict)
            norms.train()
            for name in norms:
                getattr(module, name)
            norms.eval()


def _recomputed(distance: PerceptualDistance) -> PerceptualDistance:
    """The same distance, whose activations are computed again for the gradients."""

    def recomputed(image: Tensor, truth: Tensor) -> Tensor:
        found: Tensor = checkpoint(distance, image, truth, use_reentrant=False)
        return found

    return recomputed


def _copies(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in tensors.items()}
