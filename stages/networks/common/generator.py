"""The interface of all generators, which make frames from semantic images, one after another.

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
    """One generated frame and its parts, for losses and for inspection. Parts that a family does not have are None."""

    frame: Tensor
    """[B, 3, H, W] in [-1, 1]; for a family that predicts label maps, label probabilities [B, S, H, W]."""
    raw: Tensor
    """h_t of the papers: the hallucinated image, before matting with the warped images."""
    example: Warped | None = None
    """The warped example, or the blend of all warped examples."""
    example_mask: Tensor | None = None
    """m_e in [0, 1], [B, 1, H, W]: the share of h_t."""
    previous: Warped | None = None
    """The warped previous frame."""
    previous_mask: Tensor | None = None
    """m_t in [0, 1], [B, 1, H, W]."""
    attention: Tensor | None = None
    """[B, K, h, w]: the share of each example in the features of each position (figure 7c of few-shot vid2vid)."""
    shares: Tensor | None = None
    """[B, K]: the mean of `attention` over positions."""
    chosen_example: Tensor | None = None
    """[B]: the index of e_1, the example with the largest of `shares`."""
    appearance: Tensor | None = None
    """z_t of this frame, [B, D, H, W]."""
    coarser: tuple[Tensor, ...] = ()
    """The frames of the coarser scales of a coarse-to-fine generator, the finest of these first."""
    state: tuple[Tensor, ...] = ()
    """The hidden state of a recurrent generator, for `Generator.remember`."""


@dataclass(frozen=True)
class Code:
    """The encoded examples: everything that does not depend on the driving frame. Families with examples derive their own class."""

    examples: Frame | None
    """[B, K, ...]; None for a family without examples."""


class Generator(nn.Module):
    """The base class of generators. `past` is the previous frame as a `Frame` with its image, or a subclass with more of the past."""

    config: GeneratorConfig
    tuned: ClassVar[tuple[str, ...]] = ()
    """Prefixes of the names of the parameters that finetuning changes; empty: the family cannot be finetuned."""

    @abstractmethod
    def encode_examples(self, examples: Frame | None) -> Any:
        """examples [B, K, ...] with their images -> the `Code` of the family. A family without examples ignores them."""

    @abstractmethod
    def synthesize(self, code: Any, driving: Frame, past: Frame | None = None) -> Synthesis:
        """driving [B, ...] -> the next frame with all its parts."""

    def select_examples(self, code: Any, indices: Sequence[int]) -> Any:
        """The code of only the examples with these indices, in this order."""
        raise NotImplementedError

    def step(self, code: Any, driving: Frame, past: Frame | None = None) -> tuple[Tensor, Frame]:
        """driving [B, ...] -> the next frame [B, 3, H, W] in [-1, 1], and the past for the next step."""
        synthesis = self.synthesize(code, driving, past)
        return synthesis.frame, self.remember(driving, synthesis, past)

    def remember(self, driving: Frame, synthesis: Synthesis, past: Frame | None) -> Frame:
        """The past for the next step, after `synthesis` was made from `driving` and `past`.

        To make a real image part of the past, pass `Synthesis(image, image)`.
        """
        return replace(driving, image=synthesis.frame)

    def attach_base(self, base: Generator) -> None:
        """Work on top of `base`, the generator of `config.base_model`. It stays as it is and is not part of the weights of this generator.

        Raises ValueError if it does not fit.
        """
        raise NotImplementedError

    def appearance_of(self, frame: Frame) -> Tensor:
        """z_t of a real frame with its regions, [B, D, H, W] in [-1, 1], or in [-2, 2] with `Vid2VidConfig.appearance_colour`.

        Only families with `config.appearance` implement it.
        """
        raise NotImplementedError

    def set_trainable_scale(self, height: int | None) -> None:
        """Train only the scale of a coarse-to-fine generator that makes images of this height; None: train all scales."""

    def warp_examples(self, examples: Frame, driving: Frame) -> Synthesis:
        """A frame that is only the warped examples, to train the flow network alone (`Phase.motion_only`)."""
        raise NotImplementedError

    def propagate_instances(self, numbers: Tensor, synthesis: Synthesis, past: Frame) -> Tensor:
        """The instance numbers [B, 1, H, W] of the previous frame, warped to the next frame by the flow of `synthesis`.

        Only families that predict label maps implement it.
        """
        raise NotImplementedError

    def initial_window_weights(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The initial weights for training on windows, from the weights `state` after training on single frames."""
        return state
