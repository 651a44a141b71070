"""What both rivals are: methods that move one still picture, frame by frame, and know no past."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from stages.networks.config import GeneratorConfig
from stages.networks.flow import Warped
from stages.networks.frame import Frame
from stages.networks.generator import ExampleCode, Synthesis

from .joints import joints_of


class Still(nn.Module):
    """The interface of `FewShotGenerator` around `move`. Of several examples the first is moved."""

    example_flow = None
    """No network that the flow of a past frame could begin as."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config

    @abstractmethod
    def move(self, image: Tensor, source: Tensor, driving: Tensor) -> tuple[Tensor, Warped | None]:
        """image [B, 3, H, W] in [-1, 1], joints of it and of the frame [B, 25, H, W] -> the frame, and the image as a flow moves it."""

    def encode_examples(self, examples: Frame) -> ExampleCode:
        """examples [B, K, ...] with 28 channels of s_t: kept as they are."""
        return ExampleCode(examples, [], examples.picture.new_zeros(*examples.picture.shape[:2], 0, 1, 1), None, None, None)

    def choose(self, code: ExampleCode, indices: Sequence[int]) -> ExampleCode:
        kept = list(indices)
        return replace(code, examples=code.examples.map(lambda x: x[:, kept]), values=code.values[:, kept])

    def step(self, code: ExampleCode, driving: Frame, past: Frame | None = None) -> tuple[Tensor, Frame]:
        frame = self.synthesize(code, driving, past).frame
        return frame, replace(driving, image=frame)

    def synthesize(self, code: ExampleCode, driving: Frame, past: Frame | None = None) -> Synthesis:
        example = code.examples.map(lambda x: x[:, 0])
        frame, warped = self.move(example.picture, joints_of(example.semantic), joints_of(driving.semantic))
        shares = torch.zeros(code.values.shape[:2], device=frame.device)
        shares[:, 0] = 1
        best = torch.zeros(len(frame), dtype=torch.long, device=frame.device)
        return Synthesis(frame, frame, warped, None, None, None, shares[..., None, None], shares, best)
