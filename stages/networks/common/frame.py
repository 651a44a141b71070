"""One frame as the networks see it: its semantic image, its keypoints, and its image unless that is still to be made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Frame:
    """A driving frame, an example or the frame before. Examples have a dimension K behind B, windows of video a dimension T."""

    semantic: Tensor
    """s_t, [B, S, H, W]."""
    keypoints: Tensor
    """[B, N, 3]: x, y in pixels of the image, and a confidence; 0 where the point is unknown. float32; N may be 0."""
    image: Tensor | None = None
    """[B, 3, H, W] in [-1, 1]; None for a frame that is yet to be made."""
    regions: Tensor | None = None
    """int32 [B, H, W]: the number of the region (an instance, or a piece of a label) of each pixel, 0 for none; None if not asked for."""
    appearance: Tensor | None = None
    """z_t, [B, D, H, W] in [-1, 1]: a chosen appearance of each region; None if it is encoded from the image, or the model has none."""

    @property
    def required_image(self) -> Tensor:
        """`image` of a frame that must have one: an example, or a frame that was made or filmed."""
        assert self.image is not None
        return self.image

    def cast(self, dtype: torch.dtype) -> Frame:
        """The frame with its semantic image and appearance in `dtype`; the others stay as they are."""
        return replace(self, semantic=self.semantic.to(dtype), appearance=None if self.appearance is None else self.appearance.to(dtype))

    def packed(self) -> Frame:
        """The frame with its semantic image as bool, a quarter of the memory, if that has only the values 0 and 1; `cast` undoes it."""
        binary = bool(((self.semantic == 0) | (self.semantic == 1)).all())
        return replace(self, semantic=self.semantic.bool()) if binary else self

    def map(self, change: Callable[[Tensor], Tensor]) -> Frame:
        """The frame with `change` applied to each of its tensors."""
        given = (None if x is None else change(x) for x in (self.image, self.regions, self.appearance))
        return Frame(change(self.semantic), change(self.keypoints), *given)


@dataclass(frozen=True)
class Warped:
    """A source image moved to the driving frame. Of several sources each place shows one."""

    image: Tensor
    """[B, 3, H, W]"""
    flow: Tensor
    """[B, 2, H, W] pixels, backward; of several sources that of the one with the largest share."""
    mask: Tensor
    """[B, 1, H, W] logits: high = hallucinate, low = trust the warp."""
    flows: Tensor | None = None
    """Of each of several sources, [B, K, 2, H, W]."""
    shares: Tensor | None = None
    """How much of each place comes from which of several sources, [B, K, H, W]."""
