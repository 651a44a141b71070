"""The image that is written of a synthesis: the frame, or an intermediate image."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from stages.errors import UsageError
from stages.networks.common.config import GeneratorConfig
from stages.networks.common.frame import Frame
from stages.networks.common.generator import Synthesis
from stages.networks.common.inference import Renderer

Show = Literal["result", "warp", "mask", "raw"]


def show_step(renderer: Renderer, show: Show, code: Any, driving: Frame, past: Frame | None) -> tuple[Tensor, Frame]:
    """(the next image to write, [1, 3, H, W] in [-1, 1]; the past for the next step, which does not depend on `show`)."""
    if show == "result":
        return renderer.step(code, driving, past)
    synthesis = renderer.synthesize(code, driving, past)
    return part_of(synthesis, show), renderer.remember(driving, synthesis, past)


def part_of(synthesis: Synthesis, show: Show) -> Tensor:
    """The image `show` of a synthesis, [B, 3, H, W] in [-1, 1].

    warp: the example e_1 warped by the flow of W, without the mask. mask: m_e, white where the warp is not used. raw: h_t, the output of H
    before matting.
    """
    if show == "warp":
        assert synthesis.example is not None
        return synthesis.example.image
    if show == "mask":
        assert synthesis.example_mask is not None
        return torch.cat([synthesis.example_mask] * 3, 1) * 2 - 1
    return synthesis.raw if show == "raw" else synthesis.frame


def require_shown(show: Show, config: GeneratorConfig) -> None:
    """Raises UsageError if the model does not make this image."""
    if show not in config.show_choices:
        raise UsageError(
            f"this model does not make the image {show}", code="view-missing", facts={"views": " or ".join(config.show_choices)}
        )
