"""Dimensions and presets of the network that predicts label maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from stages.networks.common.config import GeneratorConfig


@dataclass(frozen=True)
class FutureConfig(GeneratorConfig):
    """The coarsest scale of vid2vid's generator, with label maps as input and output.

    The network sees label maps that are resized to `size`; its outputs are resized back, and labels are warped at the original size.
    """

    family: ClassVar[str] = "future"
    few_shot: ClassVar[bool] = False
    makes_labels: ClassVar[bool] = True

    kind: str = "segment"
    past_frames: int = 4
    """L, the number of past label maps that the network sees."""
    filters: int = 128
    """Channels of the first layer; each halving doubles them."""
    downs: int = 3
    """Number of halvings."""
    blocks: int = 9
    """Number of residual blocks from the input to the output."""
    labels: tuple[str, ...] = ()
    """Names of the labels of the channels; empty before training, as in a recipe."""

    def __post_init__(self) -> None:
        if self.past_frames < 1:
            raise ValueError("a label map is made from at least one past map")
        if not isinstance(self.labels, tuple) or not all(isinstance(name, str) for name in self.labels):
            raise ValueError("the labels must be strings")
        if self.labels and len(self.labels) != self.semantic_channels:
            raise ValueError(f"{len(self.labels)} labels are named, but there are {self.semantic_channels} channels")

    @property
    def halvings(self) -> int:
        return self.downs

    def for_labels(self, names: Sequence[str]) -> FutureConfig:
        """The configuration for label maps with these labels; `semantic_channels` becomes their number."""
        return replace(self, labels=tuple(names), semantic_channels=len(names)) if names else self


PRESETS: dict[str, FutureConfig] = {
    "future-street": FutureConfig(semantic_channels=35, size=(256, 512)),
    "future-street-small": FutureConfig(semantic_channels=11, size=(64, 128), filters=16, blocks=5),
    "tiny-future": FutureConfig(semantic_channels=3, size=(32, 32), filters=8, downs=1, blocks=2, past_frames=2),
}
