"""The configuration of a training run."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from stages.errors import UsageError
from stages.networks.common.config import GeneratorConfig
from stages.networks.common.objective import DiscriminatorConfig, LossWeights
from stages.networks.families import config_from_json
from stages.networks.fewshot.config import FewShotConfig

STORED_NAMES = {"discriminators": "players", "real_past": "given", "max_stride": "most_stride"}
"""Field -> its former name, which is still used in runs and models."""
FIELD_NAMES = {stored: name for name, stored in STORED_NAMES.items()}


@dataclass(frozen=True)
class Phase:
    """A part of the schedule. Usually single frames come first, then windows that grow (few-shot vid2vid, section 3: training)."""

    steps: int
    frames: int = 1
    """T, the length of a training window."""
    scale: float = 1.0
    """Height and width of the training images, as a share of those of the model."""
    batch: int = 4
    adversarial: bool = True
    """Whether there are discriminators."""
    motion_only: bool = False
    """Whether only the flow network learns; its losses are those of the warped example. Such steps are many times cheaper. They need single
    frames and no discriminators.
    """
    rollout: int = 0
    """Largest number of frames that are generated, without gradients, before the window; the number is drawn for each step. In a short
    window, the previous frame is nearly perfect. A network that relies on this blurs more and more in a long video. After a rollout it
    learns from the errors of its own later frames."""
    finest_only: bool = False
    """Whether, in a coarse-to-fine generator, only the finest scale in use learns; the coarser scales are frozen."""

    @property
    def has_past(self) -> bool:
        """Whether frames are generated after a previous frame."""
        return self.frames > 1 or self.rollout > 0


@dataclass(frozen=True)
class TrainConfig:
    """All settings of a training run. They are stored in config.json of the run and in every model of it."""

    generator: GeneratorConfig = field(default_factory=FewShotConfig)
    phases: tuple[Phase, ...] = (Phase(1000),)
    losses: LossWeights = field(default_factory=LossWeights)
    max_examples: int = 4
    """K is drawn from 1 to this number for every step. If this is more than 1, K = 1 has a probability of 2/3."""
    learning_rate: float = 4e-4
    """Learning rate of the generator."""
    discriminator_rate: float = 4e-4
    """Learning rate of the discriminators."""
    betas: tuple[float, float] = (0.5, 0.999)
    """Betas of Adam."""
    decay: float = 0.4
    """Share of all steps, at the end, in which the learning rates fall linearly to a twentieth."""
    ema: float = 0.999
    """Decay of the running mean of the generator's weights."""
    clip_gradient: float = 5.0
    """Largest norm of the generator's gradient; a larger one is scaled down."""
    backprop_frames: int = 1
    """Number of successive frames of a window through which gradients flow back. The frame before them is detached."""
    real_past: float = 0.0
    """Share of the steps whose windows continue real frames (`past_frames` of the generator); the other windows begin without a past."""
    max_stride: int = 1
    """A window consists of every n-th frame of a clip, with n drawn from 1 to this number, so that the speed of the motion varies."""
    r1: float = 0.0
    """Weight of the gradient penalty of D_I on real images (R1, Mescheder et al. 2018), every 16th step; 0: there is none."""
    far_examples: float = 0.0
    """Share of the windows for which eight frames are drawn for each example, and the one whose keypoints differ most is taken."""
    jitter: float = 1.0
    """Strength of the augmentation (shift, scale, rotation, colours, mirror images). 0 turns it off."""
    hue: float = 0.0
    """Largest rotation of the hue in degrees, the same for a window and its examples. It helps if there are few subjects."""
    perceptual: str = "squeezenet"
    """The perceptual distance of the loss, by its name (stages/models/perceptual.py)."""
    perceptual_scales: int = 1
    """Number of image sizes at which the perceptual loss is computed; each is half the one before."""
    discriminators: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    bfloat16: bool = True
    """Whether networks are computed in bfloat16 (autocast)."""
    seed: int = 0
    flow_teacher: str = "dis"
    """The flow estimator that supervises the flow, as `stages.flow.teacher.Teacher.identity`."""
    start: str = ""
    """sha256 of the model with the initial weights; empty: they are random."""
    budget: float | None = None
    """Seconds for which the schedule was planned on the machine where the run began; None: the steps were given."""

    @property
    def steps(self) -> int:
        return sum(phase.steps for phase in self.phases)

    def size_of(self, phase: Phase) -> tuple[int, int]:
        """Height and width of the images of a phase."""
        height, width = (round(phase.scale * side) for side in self.generator.size)
        return height, width

    def phase_at(self, step: int) -> Phase:
        """The phase of a step, counted from 0."""
        for phase in self.phases:
            if step < phase.steps:
                return phase
            step -= phase.steps
        return self.phases[-1]

    def scale_span(self, step: int) -> tuple[int, int]:
        """The steps [first, end), counted from 0, that share the schedule of the learning rate with this step.

        The scales of a coarse-to-fine generator are networks that are trained one after another, so each has a schedule of its own.
        Otherwise there is one for the whole run.
        """
        if not any(phase.finest_only for phase in self.phases):
            return 0, self.steps
        first = end = 0
        for previous, phase in zip((self.phases[0], *self.phases), self.phases, strict=False):
            if phase.scale != previous.scale:
                if step < end:
                    break
                first = end
            end += phase.steps
        return first, end

    def rate_factor_at(self, step: int) -> float:
        """Factor of both learning rates at a step, counted from 0. It decays over the last part of the steps of each scale."""
        first, end = self.scale_span(step)
        start = end - (end - first) * self.decay
        return 1.0 if step <= start else max(0.05, 1 - (step - start) / max(end - start, 1))

    @property
    def max_rollout(self) -> int:
        """The largest rollout of all phases."""
        return max(phase.rollout for phase in self.phases)

    @property
    def max_generated_frames(self) -> int:
        """The largest number of frames that are generated one after another."""
        return max(phase.rollout + phase.frames for phase in self.phases)

    @property
    def milestones(self) -> list[int]:
        """Steps at which a run is validated, and to which it can return: the end of each phase, and about twenty in a long run."""
        ends, last = set(), 0
        for phase in self.phases:
            last += phase.steps
            ends.add(last)
        return sorted({0, *range(0, self.steps, max(50, round(self.steps / 20))), *ends})

    def with_steps(self, steps: int) -> TrainConfig:
        """The same schedule in `steps` steps: the phases are scaled in proportion, and each keeps at least one step.

        Raises UsageError when there are fewer steps than phases.
        """
        if steps < len(self.phases):
            raise UsageError(f"{steps} steps cannot hold the {len(self.phases)} phases of this recipe")
        lengths = [max(1, round(steps * phase.steps / self.steps)) for phase in self.phases]
        while missing := steps - sum(lengths):
            lengths[lengths.index(max(lengths))] += max(missing, -1)  # negative: remove one at a time from the longest phase
        return self.with_lengths(lengths)

    def with_lengths(self, lengths: list[int]) -> TrainConfig:
        """The same phases with other numbers of steps."""
        return replace(self, phases=tuple(replace(p, steps=n) for p, n in zip(self.phases, lengths, strict=True)))

    def without_small_phases(self) -> TrainConfig:
        """The configuration without phases at a smaller size. A trained model does not need them, and would lose fine details in them."""
        largest = max(phase.scale for phase in self.phases)
        return replace(self, phases=tuple(phase for phase in self.phases if phase.scale == largest))

    def with_batch_scale(self, factor: int) -> TrainConfig:
        """The configuration with `factor` times the batch in every phase, for more devices."""
        return replace(self, phases=tuple(replace(p, batch=factor * p.batch) for p in self.phases))

    def to_json(self) -> dict[str, Any]:
        """The configuration as it is stored in runs and models, with the names of `STORED_NAMES`."""
        newer = ("rollout", "finest_only")  # left out if they have their defaults, as in files of versions without them
        phases = [{name: value for name, value in asdict(phase).items() if value or name not in newer} for phase in self.phases]
        values = {**asdict(self), "generator": self.generator.to_json(), "phases": phases}
        return {STORED_NAMES.get(name, name): value for name, value in values.items()}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> TrainConfig:
        """The inverse of `to_json`. Raises UsageError for unknown settings."""
        values = {FIELD_NAMES.get(name, name): value for name, value in values.items()}
        known = {f.name for f in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise UsageError(f"unknown training settings: {', '.join(unknown)}")
        values["generator"] = config_from_json(values["generator"])
        values["phases"] = tuple(Phase(**phase) for phase in values["phases"])
        values["losses"] = LossWeights(**{**values["losses"], "focus_points": tuple(values["losses"].get("focus_points", ()))})
        regions = tuple(map(tuple, values["discriminators"]["regions"]))
        values["discriminators"] = DiscriminatorConfig(**{**values["discriminators"], "regions": regions})
        values["betas"] = tuple(values["betas"])
        return cls(**values)
