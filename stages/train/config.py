"""Everything that shapes a training run."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from stages.errors import UsageError
from stages.networks.common.config import GeneratorConfig
from stages.networks.common.objective import DiscriminatorConfig, LossWeights
from stages.networks.families import config_from_json
from stages.networks.fewshot.config import FewShotConfig


@dataclass(frozen=True)
class Phase:
    """A stretch of the schedule: single frames first, then windows that grow (section 3, progressive training)."""

    steps: int
    frames: int = 1
    """T: the length of a training window."""
    scale: float = 1.0
    """Size of the training images as a share of the model's."""
    batch: int = 4
    adversarial: bool = True
    motion_only: bool = False
    """The flow network alone learns, from the example as it moves it: many steps for the price of one. Single frames, no discriminators."""
    rollout: int = 0
    """Largest number of frames that are made before the window, without gradients; drawn for each step. In short windows the frame before
    is nearly perfect, and a network that trusts it lets blur grow over a long video; this shows it its own late frames."""

    finest_only: bool = False
    """Of a coarse-to-fine generator only the finest of the scales in use learns; the coarser ones stay as they are."""

    @property
    def has_past(self) -> bool:
        """Whether any frame is made after another."""
        return self.frames > 1 or self.rollout > 0


@dataclass(frozen=True)
class TrainConfig:
    """A resolved training run; stored as config.json of the run and in every model it makes."""

    generator: GeneratorConfig = field(default_factory=FewShotConfig)
    phases: tuple[Phase, ...] = (Phase(1000),)
    losses: LossWeights = field(default_factory=LossWeights)
    max_examples: int = 4
    """K is drawn from 1 to this for every step; 1 twice as often as the others together."""
    learning_rate: float = 4e-4
    discriminator_rate: float = 4e-4
    betas: tuple[float, float] = (0.5, 0.999)
    decay: float = 0.4
    """The last share of all steps, over which the learning rates fall linearly to a twentieth."""
    ema: float = 0.999
    clip_gradient: float = 5.0
    backprop_frames: int = 1
    """Gradients flow back through so many frames of a window; the one before them is taken as it is."""
    given: float = 0.0
    """Share of the steps whose windows continue real frames (`past_frames` of the generator); the others begin without a past."""
    most_stride: int = 1
    """Windows take every n-th frame, n drawn from 1 to this, so that motions of other speeds are seen."""
    r1: float = 0.0
    """Weight of the gradient penalty of D_I on real images (R1, Mescheder et al. 2018), every 16th step; 0 leaves it out."""
    far_examples: float = 0.0
    """Share of the windows whose examples are the one of eight drawn frames that differs most from the window, by its keypoints."""
    jitter: float = 1.0
    """Strength of the augmentation: shift, scale, rotation, colour, mirror image. 0 turns it off."""
    hue: float = 0.0
    """Largest turn of the hue in degrees, of a window and its examples alike: with few subjects, more of them."""
    perceptual: str = "squeezenet"
    perceptual_scales: int = 1
    """Number of sizes at which the perceptual loss sees the image, each half the one before."""
    discriminators: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    bfloat16: bool = True
    seed: int = 0
    flow_teacher: str = "dis"
    """Who says what the flow is, as `stages.flow.teacher.Teacher.identity`."""
    start: str = ""
    """sha256 of the model whose weights the run begins with; empty: drawn at random."""
    budget: float | None = None
    """Seconds that the schedule was planned for, on the machine where the run began."""

    @property
    def steps(self) -> int:
        return sum(phase.steps for phase in self.phases)

    def size_of(self, phase: Phase) -> tuple[int, int]:
        """Height and width of a phase's images."""
        height, width = (round(phase.scale * side) for side in self.generator.size)
        return height, width

    def phase_at(self, step: int) -> Phase:
        """The phase of a step, counted from 0."""
        for phase in self.phases:
            if step < phase.steps:
                return phase
            step -= phase.steps
        return self.phases[-1]

    def rate_at(self, step: int) -> float:
        """Factor of both learning rates at a step."""
        start = self.steps * (1 - self.decay)
        return 1.0 if step <= start else max(0.05, 1 - (step - start) / max(self.steps - start, 1))

    @property
    def rollout(self) -> int:
        """The largest of all phases."""
        return max(phase.rollout for phase in self.phases)

    @property
    def longest(self) -> int:
        """The largest number of frames that are made one after another."""
        return max(phase.rollout + phase.frames for phase in self.phases)

    @property
    def milestones(self) -> list[int]:
        """Steps at which a run is judged and can be gone back to: before each change of the phase, and about twenty times in a long run."""
        ends, last = set(), 0
        for phase in self.phases:
            last += phase.steps
            ends.add(last)
        return sorted({0, *range(0, self.steps, max(50, round(self.steps / 20))), *ends})

    def with_steps(self, steps: int) -> TrainConfig:
        """The same schedule in `steps` steps: every phase shrinks in proportion, none vanishes."""
        if steps < len(self.phases):
            raise UsageError(f"{steps} steps cannot hold the {len(self.phases)} phases of this recipe")
        lengths = [max(1, round(steps * phase.steps / self.steps)) for phase in self.phases]
        while surplus := steps - sum(lengths):
            lengths[lengths.index(max(lengths))] += max(surplus, -1)  # too many are taken one by one, each from the longest then
        return self.lasting(lengths)

    def lasting(self, lengths: list[int]) -> TrainConfig:
        """The same phases with other numbers of steps."""
        return replace(self, phases=tuple(replace(p, steps=n) for p, n in zip(self.phases, lengths, strict=True)))

    def without_small_phases(self) -> TrainConfig:
        """Without the phases at a smaller size: what they teach fastest a trained model knows, and they would cost it its fine details."""
        largest = max(phase.scale for phase in self.phases)
        return replace(self, phases=tuple(phase for phase in self.phases if phase.scale == largest))

    def with_batch_scale(self, times: int) -> TrainConfig:
        """Every phase with so many times the batch: for more devices."""
        return replace(self, phases=tuple(replace(p, batch=times * p.batch) for p in self.phases))

    def to_json(self) -> dict[str, Any]:
        """As it is stored: runs and models call the discriminators `players`, as they did before version 0.2."""
        newer = ("rollout", "finest_only")
        phases = [{name: value for name, value in asdict(phase).items() if value or name not in newer} for phase in self.phases]
        values = {**asdict(self), "generator": self.generator.to_json(), "phases": phases}
        return {"players" if name == "discriminators" else name: value for name, value in values.items()}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> TrainConfig:
        """The inverse of `to_json`. Raises UsageError for unknown settings."""
        values = {"discriminators" if name == "players" else name: value for name, value in values.items()}
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
