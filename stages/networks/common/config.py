"""The base class of the configurations of all generator families."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, ClassVar, NamedTuple, TypeVar

from stages.errors import UsageError

FORMER_NAMES = {"shows": "show_choices", "trains_motion_alone": "can_train_motion_only"}
"""Former name of a property or method of configurations -> its present name. Families of other packages may define either."""
MAX_NUMBER = 16384
"""Largest number in a configuration that is read from a file."""
MAX_LIST_LENGTH = 16
"""Largest length of a list of numbers in a configuration that is read from a file."""
FIRST_FAMILY = "few-shot"
"""The family of configurations without an entry "family", which were written when there was only this one."""
ConfigT = TypeVar("ConfigT", bound="GeneratorConfig")


class BaseModel(NamedTuple):
    """The model that a generator needs and that its own file does not contain."""

    name: str
    """The name of its file in the registry of weights, or a path."""
    sha256: str
    """The sha256 of this file. Empty, as in recipes: any file of this name is accepted."""


@dataclass(frozen=True)
class GeneratorConfig:
    """All settings that determine the network of a generator. They are stored as JSON in the header of model files.

    Each family adds its own fields.
    """

    family: ClassVar[str]
    few_shot: ClassVar[bool]
    """Whether frames are made from example images."""
    makes_labels: ClassVar[bool] = False
    """Whether the family predicts label maps. Its frames are then label probabilities [B, semantic_channels, H, W], and it has no driving
    frames.
    """

    kind: str = "landmarks"
    """The driving kind (stages/conditions/kinds)."""
    semantic_channels: int = 7
    """Number of channels of s_t, the semantic image of frame t."""
    size: tuple[int, int] = (256, 256)
    """Height and width of the training images."""

    def __init_subclass__(cls) -> None:
        for former, name in FORMER_NAMES.items():
            if former in vars(cls):
                setattr(cls, name, vars(cls)[former])

    @property
    def halvings(self) -> int:
        """Number of times that the network halves a frame. Height and width must be multiples of 2^halvings."""
        raise NotImplementedError

    @property
    def past_frames(self) -> int:
        """Number of past frames that the network sees."""
        return 1

    @property
    def appearance(self) -> int:
        """Number of channels of the appearance map z_t, which is constant on each region of a frame; 0: there is no such map."""
        return 0

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the labels of the training data in the order of the channels of s_t; empty if the configuration has no names."""
        return ()

    @property
    def base_model(self) -> BaseModel | None:
        """The frozen model that the generator refines (`Generator.attach_base`); None if the family has none."""
        return None

    @property
    def show_choices(self) -> tuple[str, ...]:
        """The images of a `Synthesis` that `synthesize --show` can write (stages/synthesize/shown.py)."""
        return ("result",)

    @property
    def warps_example(self) -> bool:
        """Whether an example is warped by a flow, which a flow estimator can supervise."""
        return False

    def for_labels(self: ConfigT, names: Sequence[str]) -> ConfigT:
        """The configuration for label maps whose channels have these names (`Track.names`).

        Raises UsageError if the configuration needs a label that is not among them.
        """
        return self

    def can_train_motion_only(self, max_examples: int) -> bool:
        """Whether the flow network can be trained alone (`Phase.motion_only`) with at most `max_examples` examples."""
        return False

    def key_entries(self) -> dict[str, Any]:
        """Settings that can be changed without training again. They are stored with every result, so that results with other values are
        told apart.
        """
        return {}

    def with_values(self: ConfigT, **values: Any) -> ConfigT:
        """This configuration with other values of some fields. Raises UsageError for a field that the family does not have."""
        known = {f.name for f in fields(self)}
        if unknown := sorted(set(values) - known):
            raise UsageError(f"a network of the family {self.family} has no setting {' and no setting '.join(unknown)}")
        return replace(self, **values)

    def to_json(self) -> dict[str, Any]:
        """The configuration as in the header of a model file; `stages.networks.families.config_from_json` is the inverse."""
        return asdict(self) if self.family == FIRST_FAMILY else {"family": self.family, **asdict(self)}

    @classmethod
    def from_json(cls: type[ConfigT], values: dict[str, Any]) -> ConfigT:
        """The configuration with these values of its fields.

        Raises TypeError for unknown keys, so that a model of another program is not loaded by accident. Raises ValueError for lists of more
        than `MAX_LIST_LENGTH` numbers, for numbers above `MAX_NUMBER` or below 0, and for numbers of channels and sizes below 1.
        """
        known = {f.name for f in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise TypeError(f"unknown settings of a generator: {', '.join(unknown)}")
        plain: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        for name, value in plain.items():
            numbers = [n for n in (value if isinstance(value, tuple) else (value,)) if isinstance(n, (int, float))]
            smallest = 1 if name.endswith(("channels", "size")) else 0
            if len(numbers) > MAX_LIST_LENGTH or not all(smallest <= n <= MAX_NUMBER for n in numbers):
                raise ValueError(f"{name} must have at most {MAX_LIST_LENGTH} numbers, from {smallest} to {MAX_NUMBER}")
        return cls(**plain)
