"""The interface of every generator: frames from semantic images, one after another.

code = generator.encode_examples(examples)                  # once per clip; None for a family without examples
frame, past = generator.step(code, driving, past)           # once per frame
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from torch import Tensor, nn

from stages.networks.common.config import GeneratorConfig
from stages.networks.common.frame import Frame, Warped


@dataclass(frozen=True)
class Synthesis:
    """One frame and the parts it was made of, for losses and images. A family leaves out what it does not make."""

    frame: Tensor
    """[B, 3, H, W] in [-1, 1]; of a family that predicts label maps their probabilities [B, S, H, W]."""
    raw: Tensor
    """h_t of the papers: what the generator paints, before matting."""
    example: Warped | None = None
    example_mask: Tensor | None = None
    """m_e in [0, 1]."""
    previous: Warped | None = None
    previous_mask: Tensor | None = None
    attention: Tensor | None = None
    """[B, K, h, w]: how much of each place comes from which example (figure 7c of few-shot vid2vid)."""
    shares: Tensor | None = None
    """[B, K]: the attention that each example received."""
    best: Tensor | None = None
    """[B]: which example was warped."""
    appearance: Tensor | None = None
    """z_t, [B, D, H, W]: the appearance that the frame was made with."""
    coarser: tuple[Tensor, ...] = ()
    """The frame as each coarser scale of a coarse-to-fine generator made it, the finest first."""
    state: tuple[Tensor, ...] = ()
    """What a recurrent generator passes to the next frame besides the image (`Generator.remember`)."""


@dataclass(frozen=True)
class Code:
    """The encoded examples: what does not depend on the driving frame. A family adds what it computes of them."""

    examples: Frame | None
    """[B, K, ...]; None for a family that has none."""


class Generator(nn.Module):
    """What trainer, inference and finetuning know of a generator. The past is a `Frame`: the frame before, with its image."""

    config: GeneratorConfig
    tuned: ClassVar[tuple[str, ...]] = ()
    """Prefixes of the parameters that finetuning on examples changes; none: it cannot be finetuned."""

    @abstractmethod
    def encode_examples(self, examples: Frame | None) -> Any:
        """examples [B, K, ...] with their images -> the `Code` of the family. A family that is not few-shot leaves them aside."""

    @abstractmethod
    def synthesize(self, code: Any, driving: Frame, past: Frame | None = None) -> Synthesis:
        """driving [B, ...] -> the next frame, with every part of it."""

    def choose(self, code: Any, indices: Sequence[int]) -> Any:
        """The code of some of the examples, in the order of `indices`."""
        raise NotImplementedError

    def step(self, code: Any, driving: Frame, past: Frame | None = None) -> tuple[Tensor, Frame]:
        """driving [B, ...] -> the next frame [B, 3, H, W] in [-1, 1], and the past for the step after it."""
        made = self.synthesize(code, driving, past)
        return made.frame, self.remember(driving, made, past)

    def remember(self, driving: Frame, made: Synthesis, past: Frame | None) -> Frame:
        """The past for the step after the one that made `made`; `Synthesis(image, image)` for a given image."""
        return replace(driving, image=made.frame)

    def appearance_of(self, frame: Frame) -> Tensor:
        """z_t of a real frame with its regions, [B, D, H, W] in [-1, 1]; for families with `config.appearance`."""
        raise NotImplementedError

    def learn_finest(self, height: int | None) -> None:
        """Of a coarse-to-fine generator only the scale that makes images of that height learns from now on; None: all do."""

    def move(self, examples: Frame, driving: Frame) -> Synthesis:
        """What the flow network alone makes of the examples (`Phase.motion_only`)."""
        raise NotImplementedError

    def follow(self, numbers: Tensor, made: Synthesis, past: Frame) -> Tensor:
        """Of a family that predicts label maps: instance numbers [B, 1, H, W] of the frame before, moved as the labels in `made` are."""
        raise NotImplementedError

    def begin_windows(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The weights with which training on windows starts, from `state`, those trained on single frames."""
        return state
