"""Tensors of a frame: semantic image, keypoints and, unless the frame is still to be generated, the image; and warped images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Frame:
    """A batch of driving frames, examples or previous frames. Examples have a dimension K after B, windows of video a dimension T."""

    semantic: Tensor
    """s_t, [B, S, H, W]."""
    keypoints: Tensor
    """float32 [B, N, 3]: x, y in pixels, and a confidence, 0 for an unknown point. N may be 0."""
    image: Tensor | None = None
    """[B, 3, H, W] in [-1, 1]; None for a frame that is still to be generated."""
    regions: Tensor | None = None
    """int32 [B, H, W]: the number of each pixel's region (an instance, or a connected piece of a label), 0 for void. None: not needed."""
    appearance: Tensor | None = None
    """z_t, [B, D, H, W]: a given appearance of each region. None: `Generator.appearance_of` encodes it from the image, or there is none."""

    @property
    def required_image(self) -> Tensor:
        """`image` of a frame that must have one, such as an example or a previous frame."""
        assert self.image is not None
        return self.image

    def cast(self, dtype: torch.dtype) -> Frame:
        """The frame with its semantic image and appearance in `dtype`; the other tensors stay as they are."""
        return replace(self, semantic=self.semantic.to(dtype), appearance=None if self.appearance is None else self.appearance.to(dtype))

    def packed(self) -> Frame:
        """The frame with its semantic image as bool, to save memory, if it only has the values 0 and 1. `cast` is the inverse."""
        binary = bool(((self.semantic == 0) | (self.semantic == 1)).all())
        return replace(self, semantic=self.semantic.bool()) if binary else self

    def map(self, change: Callable[[Tensor], Tensor]) -> Frame:
        """The frame with `change` applied to each of its tensors."""
        optional = (None if x is None else change(x) for x in (self.image, self.regions, self.appearance))
        return Frame(change(self.semantic), change(self.keypoints), *optional)


@dataclass(frozen=True)
class Warped:
    """A source image, or a blend of K source images, warped to the driving frame."""

    image: Tensor
    """[B, 3, H, W]"""
    flow: Tensor
    """Backward flow [B, 2, H, W] in pixels. With K sources, each pixel has the flow of the source with the largest share."""
    mask: Tensor
    """[B, 1, H, W] logits: high where the image must be hallucinated, low where the warp is right."""
    flows: Tensor | None = None
    """The flows of all K sources, [B, K, 2, H, W]; None for one source."""
    shares: Tensor | None = None
    """The share of each source in each pixel, [B, K, H, W]; None for one source."""
