"""A batch: windows of frames with their examples, as tensors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from stages.networks.objective import Target


@dataclass(frozen=True)
class Batch:
    """T frames and K examples of each of B clips; pictures in [-1, 1], keypoints in pixels (x, y, confidence)."""

    images: Tensor  # [B, T, 3, H, W]
    semantics: Tensor  # [B, T, S, H, W]
    keypoints: Tensor  # [B, T, N, 3]
    example_images: Tensor  # [B, K, 3, H, W]
    example_semantics: Tensor  # [B, K, S, H, W]
    example_keypoints: Tensor  # [B, K, N, 3]
    flows: Tensor  # [B, T - 1, 2, H, W] from frame t to t - 1, the teacher's
    flow_confidence: Tensor  # [B, T - 1, 1, H, W]
    example_flows: Tensor  # [B, T, K, 2, H, W] from frame t to each example, the teacher's; K is 0 where no loss asks for it
    example_confidence: Tensor  # [B, T, K, 1, H, W]
    numbers: Tensor  # [B]: the place of each sample in the batch of all processes

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: torch.device) -> Batch:
        return Batch(**{name: value.to(device, non_blocking=True) for name, value in vars(self).items()})

    def parts(self, count: int) -> list[Batch]:
        """The batch in at most `count` parts of about the same size."""
        split = {name: value.tensor_split(min(count, len(self))) for name, value in vars(self).items()}
        return [Batch(**{name: values[i] for name, values in split.items()}) for i in range(min(count, len(self)))]

    def target(self, t: int) -> Target:
        """The truth about frame t."""
        first = t == 0
        return Target(
            self.images[:, t], self.semantics[:, t], self.example_images[:, 0], self.keypoints[:, t], self.example_keypoints,
            flow=None if first else self.flows[:, t - 1],
            flow_confidence=None if first else self.flow_confidence[:, t - 1],
            example_flows=self.example_flows[:, t],
            example_confidence=self.example_confidence[:, t],
            odd=self.numbers % 2 == 1,
        )  # fmt: skip
