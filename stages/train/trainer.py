"""A training step: generator and discriminators learn from the frames of a window."""

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

from stages.networks.common.discriminator_inputs import History
from stages.networks.common.frame import Frame
from stages.networks.common.generator import Generator, Synthesis
from stages.networks.common.objective import Discriminators, PerceptualDistance, Target
from stages.networks.common.recomputing import Recomputing
from stages.networks.families import find
from stages.train.batch import Batch
from stages.train.config import Phase, TrainConfig
from stages.train.guard import Guard
from stages.train.parallel import ProcessGroup

R1_EVERY = 16
"""Steps between two computations of the gradient penalty, and the factor of its weight (lazy regularisation of StyleGAN 2)."""


@dataclass(frozen=True)
class ComputeSettings:
    """How steps are computed. The result is the same up to rounding errors.

    Exceptions: with `accumulate`, batch norm and the losses of regions and of label maps use only one part of the batch at a time.
    """

    accumulate: int = 1
    """Number of parts into which a batch is split, to save memory."""
    checkpoint: bool = False
    """Whether activations are computed again for the gradients, to save memory."""
    compile: bool = False
    """Whether torch.compile is used."""
    prefetch: int = 2
    """Number of batches that are prepared in advance, each in its own thread."""


@dataclass
class Window:
    """A part of a batch, with the frames generated for it so far."""

    batch: Batch
    weight: float
    """Number of its samples divided by that of the whole batch of all processes."""
    previous: Frame | None = None
    """The past for the next frame, as from `Generator.remember`."""
    history: History = field(default_factory=lambda: History([], [], []))

    def add(self, target: Target, synthesis: Synthesis, generator: Generator) -> None:
        """Append the frame for `target`, generated or real."""
        self.previous = generator.remember(target.frame, synthesis, self.previous)
        flows = self.history.flows if target.flow is None else [*self.history.flows, target.flow]
        self.history = History([*self.history.real, target.image], [*self.history.fake, synthesis.frame.detach()], flows)


class StepResult(NamedTuple):
    """The result of a step."""

    terms: dict[str, float]
    """Each term of the objective, as the mean over frames and processes."""
    reason: str
    """Why the run must return to an earlier state; "" if it need not."""


class Trainer:
    """Generator, discriminators, their optimisers, the running mean of the generator's weights, and the guard of a run."""

    def __init__(
        self, config: TrainConfig, device: torch.device, perceptual: PerceptualDistance | None, compute: ComputeSettings | None = None,
        world: ProcessGroup | None = None, base: Generator | None = None,
    ) -> None:  # fmt: skip
        """base: the generator of `config.generator.base_model`."""
        torch.manual_seed(config.seed)
        self.config, self.device = config, device
        self.compute, self.world = compute or ComputeSettings(), world or ProcessGroup()
        self.perceptual = perceptual
        self.family = find(config.generator.family)
        self.generator = self.family.build(config.generator)
        if base is not None:
            self.generator.attach_base(base)
        self.generator.to(device)
        self.discriminators = Discriminators(config.generator, config.discriminators).to(device)
        # `_generate` recomputes whole frames; these modules also recompute their parts one by one
        for module in (*self.generator.modules(), self.discriminators, perceptual):
            if isinstance(module, Recomputing):
                module.recomputes = self.compute.checkpoint
        self.average = _copies(self.generator.state_dict())
        self.optimizer = torch.optim.Adam(self.generator.parameters(), config.learning_rate, config.betas)
        self.discriminator_optimizer = torch.optim.Adam(self.discriminators.parameters(), config.discriminator_rate, config.betas)
        self.step = 0
        self.guard = Guard()
        self._encode: Callable[[Frame], Any] = self.generator.encode_examples
        self._synthesize: Callable[[Any, Frame, Frame | None], Synthesis] = self.generator.synthesize
        if self.compute.compile:
            self._encode, self._synthesize = torch.compile(self._encode, dynamic=False), torch.compile(self._synthesize, dynamic=False)

    def initialise_from(self, tensors: Mapping[str, Tensor]) -> tuple[int, int]:
        """Copy the tensors of another model that have the same name and shape as here. Returns the numbers of copied and of all tensors."""
        state = self.generator.state_dict()
        copied = {name: tensors[name] for name, value in state.items() if name in tensors and tensors[name].shape == value.shape}
        self.generator.load_state_dict({**state, **copied})
        self.average = _copies(self.generator.state_dict())
        return len(copied), len(state)

    def train_step(self, batch: Batch, phase: Phase) -> StepResult:
        """Train on a batch of windows, with an update after every `config.backprop_frames` frames.

        Generator and discriminators learn from the same frames. The losses of both are computed before either is updated.
        """
        torch.manual_seed(self.config.seed * 1_000_003 + self.step)
        self._set_rates()
        if self.step == 0 or self.config.phase_at(self.step - 1) != phase:
            self._begin_phase(phase)
        self.generator.set_trainable_scale(self.config.size_of(phase)[0] if phase.finest_only else None)
        windows = [Window(part, len(part) / phase.batch) for part in batch.parts(self.compute.accumulate)]
        first_trained = batch.num_frames - phase.frames
        for window in windows:
            self._roll_out(window, first_trained)
        sums = StepSums(self.device)
        finite = True
        for first in range(first_trained, batch.num_frames, self.config.backprop_frames):
            frames = range(first, min(first + self.config.backprop_frames, batch.num_frames))
            self.optimizer.zero_grad(set_to_none=True)
            self.discriminator_optimizer.zero_grad(set_to_none=True)
            _update_spectral_norms(self.generator)
            _update_spectral_norms(self.discriminators)
            losses_finite = [self._add_gradients(window, frames, phase, sums) for window in windows]
            finite &= self._update(phase, all(losses_finite))
        self.step += 1
        terms = sums.means(self.world, phase.frames)
        error, grey, saturation = (terms.pop(name) for name in ("_error", "_grey", "_saturation"))
        return StepResult(terms, self.guard.check_step(error / max(grey, 1e-6), saturation, finite))

    @torch.no_grad()
    def _roll_out(self, window: Window, frames: int) -> None:
        """Add the first `frames` frames of a window: its real frames, then frames that are generated as for a video."""
        for t in range(window.batch.real_frames):
            target = window.batch.target(t)
            window.add(target, Synthesis(target.image, target.image), self.generator)
        if frames == window.batch.real_frames:
            return
        with self._autocast():
            code = self.generator.encode_examples(window.batch.examples)
        for t in range(window.batch.real_frames, frames):
            target = window.batch.target(t)
            with self._autocast():
                window.add(target, self.generator.synthesize(code, target.frame, window.previous), self.generator)

    def _add_gradients(self, window: Window, frames: range, phase: Phase, sums: StepSums) -> bool:
        """Generate some frames of a window and add the gradients of their losses, for generator and discriminators.

        Returns False if the generator's loss is not finite; its gradients are then not added.
        """
        batch, total = window.batch, torch.zeros((), device=self.device)
        with self._autocast():
            code = None if phase.motion_only else self._encode(batch.examples)
        for t in frames:
            target = batch.target(t)
            synthesis = self._warp(batch.examples, target.frame) if code is None else self._generate(code, target.frame, window.previous)
            if phase.adversarial:
                loss = self._discriminator_loss(target, synthesis, window.history) * (window.weight / len(frames))
                loss.backward()
                sums.add("discriminator", loss.detach() * len(frames))
            with self._autocast():
                discriminators = self.discriminators.requires_grad_(False) if phase.adversarial else None
                terms = self.family.objective(synthesis, target, self.config.losses, self.perceptual, discriminators, window.history)
            for name, value in terms.items():
                sums.add(name, value.detach() * window.weight)
            sums.add_errors(synthesis, target.image, window.weight)
            total = total + torch.stack(list(terms.values())).sum() * (window.weight / len(frames))
            window.add(target, synthesis, self.generator)
        assert window.previous is not None
        window.previous = window.previous.map(Tensor.detach)
        if not torch.isfinite(total):  # gradients that are not finite would crash grid_sample
            return False
        total.backward()
        return True

    def _generate(self, code: Any, driving: Frame, past: Frame | None) -> Synthesis:
        """A frame from the encoded examples."""
        with self._autocast():
            if not self.compute.checkpoint:
                return self._synthesize(code, driving, past)
            synthesis: Synthesis = checkpoint(self._synthesize, code, driving, past, use_reentrant=False)
            return synthesis

    def _warp(self, examples: Frame, driving: Frame) -> Synthesis:
        """A frame that is only the warped examples."""
        with self._autocast():
            return self.generator.warp_examples(examples, driving)

    def _discriminator_loss(self, target: Target, synthesis: Synthesis, past: History) -> Tensor:
        """The loss of the discriminators, with the gradient penalty at every `R1_EVERY`-th step."""
        self.discriminators.requires_grad_(True)
        with self._autocast():
            loss = self.discriminators.loss(target, synthesis.frame.detach(), past, synthesis.raw.detach())
        if self.config.r1 and self.step % R1_EVERY == 0:
            loss = loss + 0.5 * self.config.r1 * R1_EVERY * self.discriminators.penalty(target)
        return loss

    def _update(self, phase: Phase, finite: bool) -> bool:
        """Update the weights, unless a loss or a gradient of any process is not finite. Returns whether they were updated.

        finite: whether the losses of this process are finite.
        """
        if self.world.sum(torch.tensor(float(not finite), device=self.device)):
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
        """Update the running mean of the generator's weights. Its decay grows over the first steps at each new scale."""
        steps = self.step - self.config.scale_span(self.step)[0]
        decay = min(self.config.ema, (1 + steps) / (10 + steps))
        for name, value in self.generator.state_dict().items():
            mean = self.average[name]
            if mean.is_floating_point():
                mean.lerp_(value, 1 - decay)
            else:
                mean.copy_(value)  # the number of batches that batch norm has seen

    def _set_rates(self) -> None:
        factor = self.config.rate_factor_at(self.step) * self.guard.rate
        for optimizer, rate in (
            (self.optimizer, self.config.learning_rate),
            (self.discriminator_optimizer, self.config.discriminator_rate),
        ):
            for group in optimizer.param_groups:
                group["lr"] = rate * factor

    @property
    def rate(self) -> float:
        """The current learning rate of the generator."""
        return float(self.optimizer.param_groups[0]["lr"])

    def _begin_phase(self, phase: Phase) -> None:
        """Prepare for the first step of a phase."""
        self.guard.reset_errors()
        if self.compute.compile:
            # PyTorch keeps at most eight compiled variants, and a phase may need all: for 1 to 4 examples, each with and without a past
            torch.compiler.reset()
        had_no_past = self.step == 0 or not self.config.phase_at(self.step - 1).has_past
        if phase.has_past and had_no_past:
            self.generator.load_state_dict(self.generator.initial_window_weights(self.generator.state_dict()))
            self.average = _copies(self.generator.initial_window_weights(self.average))

    def state(self) -> dict[str, Any]:
        """All that is needed to resume exactly. Batches and random numbers depend only on the seed, the step and the guard."""
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
    def averaged_generator(self) -> Iterator[Generator]:
        """The generator with the running mean of its weights, in evaluation mode, for sample sheets and validation."""
        weights = _copies(self.generator.state_dict())
        self.generator.load_state_dict(self.average)
        try:
            yield self.generator.eval()
        finally:
            self.generator.load_state_dict(weights)
            self.generator.train()

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.bfloat16)


class StepSums:
    """Sums over the frames of a step. They stay on the device until the step is done, to avoid synchronisation."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.sums: dict[str, Tensor] = {}

    def add(self, name: str, value: Tensor) -> None:
        self.sums[name] = self.sums[name] + value if name in self.sums else value

    def add_errors(self, synthesis: Synthesis, truth: Tensor, weight: float) -> None:
        """Add what the guard needs: the error of the frame, that of a grey frame, and the share of saturated values of h_t."""
        with torch.no_grad():
            self.add("_error", F.l1_loss(synthesis.frame, truth) * weight)
            self.add("_grey", truth.abs().mean() * weight)
            self.add("_saturation", (synthesis.raw.abs() > 0.999).float().mean() * weight)

    def means(self, world: ProcessGroup, frames: int) -> dict[str, float]:
        """The sums of all processes, divided by the number of frames."""
        names = world.broadcast(sorted(self.sums))
        zero = torch.zeros((), device=self.device)
        values = world.sum(torch.stack([self.sums.get(name, zero).float() for name in names]))
        return {name: value / frames for name, value in zip(names, values.tolist(), strict=True)}


@torch.no_grad()
def _update_spectral_norms(network: nn.Module) -> None:
    """Run one power iteration of all spectral norms, which then stay fixed until the next call."""
    for module in network.modules():
        if is_parametrized(module):
            norms = module.parametrizations
            assert isinstance(norms, nn.ModuleDict)
            norms.train()
            for name in norms:
                getattr(module, name)
            norms.eval()


def _copies(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in tensors.items()}
