"""Dimensions, variants and presets of vid2vid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from stages.errors import UsageError
from stages.networks.common.config import GeneratorConfig


@dataclass(frozen=True)
class Vid2VidConfig(GeneratorConfig):
    """A coarsest scale, and finer scales (enhancers), each with twice the size and half the filters of the one before."""

    family: ClassVar[str] = "vid2vid"
    few_shot: ClassVar[bool] = False

    past_frames: int = 2
    """L, the number of past frames that the network sees."""
    filters: int = 128
    """Channels of the first layer of the coarsest scale; each halving doubles them."""
    downs: int = 3
    """Number of halvings in the coarsest scale."""
    blocks: int = 9
    """Number of residual blocks from the input to the output of the coarsest scale."""
    enhancers: int = 0
    """Number of finer scales."""
    enhancer_blocks: int = 3
    """Number of residual blocks in each finer scale."""
    motion: bool = True
    """Whether there are decoders of flow and mask, W and M. Without them frames are h_t (table 2 of the paper, "no flow warping")."""
    foreground: tuple[str | int, ...] = ()
    """The labels of the foreground: names in a recipe, channels of s_t in a model. Empty: there is no foreground network."""
    foreground_filters: int = 64
    """As `filters`, for the foreground network H_F."""
    composite: Literal["paper", "after"] = "paper"
    """paper: equation 9. after: the foreground replaces the result of matting and is never warped, as in the public code."""
    appearance: int = 0
    """Channels of the appearance map z_t, 3 in the paper. 0: there is no encoder E, and label maps determine the video."""
    appearance_filters: int = 16
    """Channels of the first layer of E; each halving doubles them."""
    appearance_downs: int = 4
    """Number of halvings in E, which sees the image at the size of the coarsest scale."""
    appearance_colour: bool = False
    """Whether z_t is the sum of E's features and the mean colour of the region, and H paints the difference from z_t.

    Then `appearance` must be 3. The paper has E alone. Its normalisation layers, and those of H, remove the mean colour, so that short
    training leaves regions grey.
    """

    @property
    def halvings(self) -> int:
        return max(self.downs, self.appearance_downs if self.appearance else 0) + self.enhancers

    @property
    def show_choices(self) -> tuple[str, ...]:
        return ("result", "raw")

    def for_labels(self, names: Sequence[str]) -> Vid2VidConfig:
        """The configuration with channels instead of names in `foreground`. names: the labels of the channels of s_t.

        Raises UsageError for a name that is not among them, for an appearance without labels, and for `appearance_colour` unless
        `appearance` is 3.
        """
        if self.appearance and not names:
            raise UsageError(f"an appearance belongs to regions of label maps, and {self.kind} has none")
        if self.appearance_colour and self.appearance != 3:
            raise UsageError(f"appearance_colour needs appearance = 3, not {self.appearance}")
        channels = {name: channel for channel, name in enumerate(names)}
        if missing := [name for name in self.foreground if isinstance(name, str) and name not in channels]:
            raise UsageError(f"the label table has no {' and no '.join(map(str, missing))}, only {', '.join(names)}")
        return replace(self, foreground=tuple(channels[name] if isinstance(name, str) else name for name in self.foreground))


_STREET = Vid2VidConfig(kind="segment", semantic_channels=35, size=(256, 512))
_SMALL = Vid2VidConfig(
    kind="segment", semantic_channels=11, size=(256, 512), filters=24, downs=2, blocks=5, enhancers=2, foreground_filters=16
)

PRESETS: dict[str, Vid2VidConfig] = {
    "vid2vid-street-512": _STREET,
    "vid2vid-street-1024": replace(_STREET, size=(512, 1024), enhancers=1),
    "vid2vid-street-2048": replace(_STREET, size=(1024, 2048), enhancers=2),
    "vid2vid-face": replace(_STREET, kind="landmarks+edges", semantic_channels=8, size=(512, 512)),
    "vid2vid-pose": replace(_STREET, kind="poses+densepose", semantic_channels=6, size=(512, 256)),
    "street-small": _SMALL,
    "tiny-vid2vid": Vid2VidConfig(size=(64, 64), filters=8, downs=1, blocks=2, enhancers=1, foreground_filters=8),
}
