"""The base class of PoseWarp and MonkeyNet, which animate one image and make each frame independently."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from stages.networks.common.frame import Frame, Warped
from stages.networks.common.generator import Generator, Synthesis
from stages.networks.fewshot.config import FewShotConfig
from stages.networks.fewshot.generator import ExampleCode

from .joints import joints_of


class Animator(Generator):
    """A generator that makes each frame by `move_image` from the first example; it ignores the others."""

    config: FewShotConfig

    def __init__(self, config: FewShotConfig) -> None:
        super().__init__()
        self.config = config

    @abstractmethod
    def move_image(self, image: Tensor, source: Tensor, driving: Tensor) -> tuple[Tensor, Warped | None]:
        """The frame [B, 3, H, W] in [-1, 1], and the warped image if the method has a flow.

        image [B, 3, H, W] in [-1, 1]; source, driving: joint heat maps [B, 25, H, W] of the image and of the frame.
        """

    def encode_examples(self, examples: Frame | None) -> ExampleCode:
        """The code contains the examples [B, K, ...], whose s_t has 28 channels, unchanged."""
        assert examples is not None
        return ExampleCode(examples, [], examples.required_image.new_zeros(*examples.required_image.shape[:2], 0, 1, 1), None, None, None)

    def select_examples(self, code: ExampleCode, indices: Sequence[int]) -> ExampleCode:
        kept = list(indices)
        return replace(code, examples=code.examples.map(lambda x: x[:, kept]), values=code.values[:, kept])

    def synthesize(self, code: ExampleCode, driving: Frame, past: Frame | None = None) -> Synthesis:
        example = code.examples.map(lambda x: x[:, 0])
        frame, warped = self.move_image(example.required_image, joints_of(example.semantic), joints_of(driving.semantic))
        shares = torch.zeros(code.values.shape[:2], device=frame.device)
        shares[:, 0] = 1
        best = torch.zeros(len(frame), dtype=torch.long, device=frame.device)
        return Synthesis(frame, frame, warped, None, None, None, shares[..., None, None], shares, best)
