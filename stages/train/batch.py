"""A training batch: windows of frames with their examples and flows, as tensors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from stages.networks.common.frame import Frame
from stages.networks.common.objective import Target


@dataclass(frozen=True)
class Batch:
    """B windows of T frames, with K examples each."""

    frames: Frame  # [B, T, ...]; the semantic images may be packed
    examples: Frame  # [B, K, ...]; packed if the family uses only their images
    flows: Tensor  # [B, T - 1, 2, H, W]: [:, i] is the teacher's backward flow from frame i + 1 to frame i, in pixels
    flow_confidence: Tensor  # [B, T - 1, 1, H, W] in [0, 1]
    example_flows: Tensor  # [B, T, K, 2, H, W]: the teacher's flow from each frame to each example; K is 0 if no loss needs it
    example_confidence: Tensor  # [B, T, K, 1, H, W] in [0, 1]
    indices: Tensor  # [B]: the index of each sample in the batch of all processes
    real_frames: int = 0
    """Number of frames at the start of each window that are not generated: they are the past of the frame after them."""

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def num_frames(self) -> int:
        """T."""
        return self.frames.required_image.shape[1]

    def map(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """The batch with `change` applied to each of its tensors."""
        names = ("flows", "flow_confidence", "example_flows", "example_confidence", "indices")
        changed: dict[str, Any] = {name: change(getattr(self, name)) for name in names}
        return replace(self, frames=self.frames.map(change), examples=self.examples.map(change), **changed)

    def to(self, device: torch.device) -> Batch:
        return self.map(lambda x: x.to(device, non_blocking=True))

    def parts(self, count: int) -> list[Batch]:
        """The batch, split into at most `count` parts of about the same size."""
        parts = torch.arange(len(self)).tensor_split(min(count, len(self)))
        return [self.map(lambda x, first=int(p[0]), end=int(p[-1]) + 1: x[first:end]) for p in parts]  # type: ignore[misc]

    def frame(self, t: int) -> Frame:
        """Frame t of each window, [B, ...]."""
        return self.frames.map(lambda x: x[:, t]).cast(torch.float32)

    def target(self, t: int) -> Target:
        """The ground truth for frame t of each window."""
        first = t == 0
        return Target(
            self.frame(t), self.examples,
            flow=None if first else self.flows[:, t - 1],
            flow_confidence=None if first else self.flow_confidence[:, t - 1],
            example_flows=self.example_flows[:, t],
            example_confidence=self.example_confidence[:, t],
            perceptual_on_raw=self.indices % 2 == 1,
        )  # fmt: skip
