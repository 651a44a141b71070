"""What the configurations of all generator families have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, ClassVar, TypeVar

from stages.errors import UsageError

MAX_NUMBER = 16384
"""Largest number in a configuration that comes from a file."""
MAX_LEVELS = 16
"""Longest list in a configuration."""
FIRST_FAMILY = "few-shot"
"""The family of configurations that name none: those from before there were others."""
ConfigT = TypeVar("ConfigT", bound="GeneratorConfig")


@dataclass(frozen=True)
class GeneratorConfig:
    """What shapes a generator: a frozen table, stored as JSON in the header of every model file. Each family adds its own fields."""

    family: ClassVar[str]
    few_shot: ClassVar[bool]
    """Whether frames are made from example images."""
    makes_labels: ClassVar[bool] = False
    """Whether it predicts label maps: its frames are the probabilities of labels [B, S, H, W] in place of images, and nothing drives it."""

    kind: str = "landmarks"
    """The driving kind (stages/conditions/kinds); `synthesize` chooses the model by it."""
    semantic_channels: int = 7
    size: tuple[int, int] = (256, 256)
    """Height and width that the model was trained at."""

    @property
    def halvings(self) -> int:
        """Number of times that a frame is halved: height and width are multiples of 2^halvings."""
        raise NotImplementedError

    @property
    def past_frames(self) -> int:
        """Number of past frames that a frame is made from."""
        return 1

    @property
    def appearance(self) -> int:
        """Number of channels of the appearance map z_t, which is constant on each region of a frame; 0: the model has none."""
        return 0

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the labels that a model was trained on, in the order of the channels of s_t; empty where it does not know them."""
        return ()

    @property
    def shows(self) -> tuple[str, ...]:
        """Parts of a synthesis that can be shown (stages/synthesize/shown.py)."""
        return ("result",)

    @property
    def warps_example(self) -> bool:
        """Whether an example is moved by a flow, which a flow estimator can teach."""
        return False

    def for_labels(self: ConfigT, names: Sequence[str]) -> ConfigT:
        """The configuration for driving with these channels (`Track.names`). Raises UsageError for a label that is not among them."""
        return self

    def trains_motion_alone(self, max_examples: int) -> bool:
        """Whether the flow network can be trained alone (`Phase.motion_only`) with at most `max_examples` examples."""
        return False

    def recorded(self) -> dict[str, Any]:
        """Settings that may change without other weights; they are recorded with every result."""
        return {}

    def changed(self: ConfigT, **values: Any) -> ConfigT:
        """The configuration with other values. Raises UsageError for a field that the family does not have."""
        known = {f.name for f in fields(self)}
        if unknown := sorted(set(values) - known):
            raise UsageError(f"a network of the family {self.family} has no {' and no '.join(unknown)} to choose")
        return replace(self, **values)

    def to_json(self) -> dict[str, Any]:
        """As a model's header has it; `stages.networks.families.config_from_json` is the opposite."""
        return asdict(self) if self.family == FIRST_FAMILY else {"family": self.family, **asdict(self)}

    @classmethod
    def from_json(cls: type[ConfigT], values: dict[str, Any]) -> ConfigT:
        """Unknown keys are refused with TypeError: a model of another make must not load by accident. ValueError for absurd numbers."""
        known = {f.name for f in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise TypeError(f"unknown settings of a generator: {', '.join(unknown)}")
        plain: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        for name, value in plain.items():
            numbers = [n for n in (value if isinstance(value, tuple) else (value,)) if isinstance(n, (int, float))]
            smallest = 1 if name.endswith(("channels", "size")) else 0
            if len(numbers) > MAX_LEVELS or not all(smallest <= n <= MAX_NUMBER for n in numbers):
                raise ValueError(f"{name} must have at most {MAX_LEVELS} numbers, from {smallest} to {MAX_NUMBER}")
        return cls(**plain)
