"""vid2vid without flow warping (table 2 of vid2vid): without W and M there is only H, which sees the last frame as it is."""

from __future__ import annotations

import torch

from stages.networks.common.frame import Frame, Warped
from stages.networks.fewshot.generator import Appearance, ExampleCode, FewShotGenerator

NEVER = 20.0
"""A logit of the mask that trusts no warp anywhere."""


class Unwarped(FewShotGenerator):
    """The past frame guides H where it was, and is never laid over the result. The example, which vid2vid has not, is warped as ever."""

    def _warp(self, code: ExampleCode, appearance: Appearance, driving: Frame, past: Frame | None) -> tuple[Warped | None, Warped | None]:
        example, _ = super()._warp(code, appearance, driving, None)
        if past is None:
            return example, None
        still = torch.zeros_like(past.required_image[:, :2])
        return example, Warped(past.required_image, still, torch.full_like(still[:, :1], NEVER))
