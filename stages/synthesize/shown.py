"""What of a synthesis is to be seen: the frame, or a part of what it was made of."""

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
    """The next image to write, [1, 3, H, W] in [-1, 1], and the past for the step after it, which is the same whatever is shown."""
    if show == "result":
        return renderer.step(code, driving, past)
    made = renderer.synthesize(code, driving, past)
    return part_of(made, show), renderer.remember(driving, made, past)


def part_of(made: Synthesis, show: Show) -> Tensor:
    """[B, 3, H, W] in [-1, 1]. warp: the example e_1 moved by the flow W, wherever the mask trusts it or not; mask: m_e, white where the
    warp is not trusted; raw: h_t, what H made before matting."""
    if show == "warp":
        assert made.example is not None
        return made.example.image
    if show == "mask":
        assert made.example_mask is not None
        return torch.cat([made.example_mask] * 3, 1) * 2 - 1
    return made.raw if show == "raw" else made.frame


def require_shown(show: Show, config: GeneratorConfig) -> None:
    """Raises UsageError when the model makes no such part."""
    if show not in config.shows:
        raise UsageError(f"this model makes no {show} that could be shown", code="view-missing", facts={"views": " or ".join(config.shows)})
