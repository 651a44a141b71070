"""Everything that shapes a training run, and the table of recipes."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from stages.errors import UsageProblem
from stages.networks.config import PRESETS, GeneratorConfig
from stages.networks.objective import LossWeights, Players


@dataclass(frozen=True)
class Phase:
    """A stretch of the schedule: single frames first, then windows that grow (section 3, progressive training)."""

    steps: int
    frames: int = 1
    """T: the length of a training window."""
    size: int = 256
    """Height of the training pictures; the width follows the model's aspect."""
    batch: int = 4
    adversarial: bool = True


@dataclass(frozen=True)
class TrainConfig:
    """A resolved training run; stored as config.json of the run and in every model it makes."""

    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
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
    jitter: float = 1.0
    """Strength of the augmentation: shift, scale, rotation, colour, mirror image. 0 turns it off."""
    perceptual: str = "squeezenet"
    perceptual_scales: int = 1
    """The perceptual loss sees the picture and its halves, so many sizes in all."""
    players: Players = field(default_factory=Players)
    bfloat16: bool = True
    seed: int = 0
    flow_teacher: str = "dis"
    """Who says what the flow is, as `stages.flow.teacher.Teacher.identity`."""

    @property
    def steps(self) -> int:
        return sum(phase.steps for phase in self.phases)

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

    def shortened(self, steps: int) -> TrainConfig:
        """The same schedule in `steps` steps: every phase shrinks in proportion, none vanishes."""
        if steps < len(self.phases):
            raise UsageProblem(f"{steps} steps cannot hold the {len(self.phases)} phases of this recipe")
        lengths = [max(1, round(steps * phase.steps / self.steps)) for phase in self.phases]
        lengths[lengths.index(max(lengths))] += steps - sum(lengths)
        return replace(self, phases=tuple(replace(p, steps=n) for p, n in zip(self.phases, lengths, strict=True)))

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> TrainConfig:
        known = {f.name for f in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise UsageProblem(f"unknown training settings: {', '.join(unknown)}")
        values = dict(values)
        values["generator"] = GeneratorConfig.from_json(values["generator"])
        values["phases"] = tuple(Phase(**phase) for phase in values["phases"])
        values["losses"] = LossWeights(**values["losses"])
        values["players"] = Players(**{**values["players"], "regions": tuple(map(tuple, values["players"]["regions"]))})
        values["betas"] = tuple(values["betas"])
        return cls(**values)


PAPER = TrainConfig(
    generator=replace(PRESETS["paper"], semantic_channels=7),
    phases=(
        Phase(62_500, batch=8), Phase(12_500, batch=8, frames=2), Phase(12_500, batch=8, frames=4), Phase(12_500, batch=8, frames=8),
        Phase(12_500, batch=8, frames=16),
    ),
    losses=LossWeights(
        l1=0, perceptual=10, raw=0, warp=10, keypoint=0, mask=10, flow=10, attention=0, gan=1, feature_matching=10, video_gan=1
    ),
    decay=0.5,
    perceptual="vgg19",
)  # fmt: skip
"""Few-shot vid2vid's own: losses, rates and a hundred epochs of 10,000 windows, for a GPU of 40 GB or more."""

RECIPES: dict[str, TrainConfig] = {
    # About three hours of two CPU cores: small pictures first, then full size, growing windows and the discriminators last.
    "face-256": TrainConfig(
        generator=PRESETS["face-256"],
        phases=(
            Phase(3200, size=128, batch=8, adversarial=False),
            Phase(1200, size=256, batch=4, adversarial=False),
            Phase(200, size=256, batch=2, frames=2),
            Phase(30, size=256, batch=2, frames=4),
        ),
    ),
    "pose-256": TrainConfig(
        generator=PRESETS["pose-256"],
        phases=(Phase(4000, size=128, batch=8, adversarial=False), Phase(2000, batch=4), Phase(500, batch=2, frames=2)),
    ),
    "paper": PAPER,
    "paper-pose": replace(
        PAPER,
        generator=PRESETS["paper-pose"],
        phases=tuple(replace(phase, size=512, batch=4, steps=2 * phase.steps) for phase in PAPER.phases),
    ),
    "paper-densepose": replace(
        PAPER,
        generator=PRESETS["paper-densepose"],
        phases=tuple(replace(phase, size=512, batch=4, steps=2 * phase.steps) for phase in PAPER.phases),
    ),
    "tiny": TrainConfig(
        generator=PRESETS["tiny"],
        phases=(Phase(6, size=64, batch=2), Phase(4, size=64, batch=2, frames=2)),
        max_examples=2,
        players=Players(filters=8),
    ),
}
