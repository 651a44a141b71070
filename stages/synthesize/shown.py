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
    made = renderer.synthesize(code, driving, past)
    return part_of(made, show), renderer.remember(driving, made, past)


def part_of(made: Synthesis, show: Show) -> Tensor:
    """The image [B, 3, H, W] in [-1, 1]. warp: the example e_1 warped by the flow W, without the mask; mask: m_e, white where the warp is
    not used; raw: h_t, the output of H before matting."""
    if show == "warp":
        assert made.example is not None
        return made.example.image
    if show == "mask":
        assert made.example_mask is not None
        return torch.cat([made.example_mask] * 3, 1) * 2 - 1
    return made.raw if show == "raw" else made.frame


def require_shown(show: Show, config: GeneratorConfig) -> None:
    """Raises UsageError if the model does not make this image."""
    if show not in config.shows:
        raise UsageError(f"this model does not make the image {show}", code="view-missing", facts={"views": " or ".join(config.shows)})
