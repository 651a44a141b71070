"""Few-shot vid2vid without flow warping of the previous frame (an ablation of vid2vid's table 2): H sees the previous frame unwarped."""

from __future__ import annotations

import torch

from stages.networks.common.frame import Frame, Warped
from stages.networks.fewshot.generator import Appearance, ExampleCode, FewShotGenerator

UNUSED_LOGIT = 20.0
"""A mask logit with which no warped pixel is used."""


class Unwarped(FewShotGenerator):
    """The previous frame guides H without being warped, and is never blended into the result. The example is warped as usual."""

    def _warp(self, code: ExampleCode, appearance: Appearance, driving: Frame, past: Frame | None) -> tuple[Warped | None, Warped | None]:
        example, _ = super()._warp(code, appearance, driving, None)
        if past is None:
            return example, None
        no_flow = torch.zeros_like(past.required_image[:, :2])
        return example, Warped(past.required_image, no_flow, torch.full_like(no_flow[:, :1], UNUSED_LOGIT))
