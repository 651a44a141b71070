"""The base class of PredNet and MCNet, generators that predict frames from previous frames and use no label maps.

The first `config.past_frames` frames of a video are real if they are known, from `synthesize --start` or from a training window. After
them, a predictor sees its own frames.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from stages.networks.common.config import GeneratorConfig
from stages.networks.common.frame import Frame
from stages.networks.common.generator import Code, Generator, Synthesis

State = tuple[Tensor, ...]


@dataclass(frozen=True)
class PredictorConfig(GeneratorConfig):
    few_shot = False

    kind: str = "segment"
    past_frames: int = 10
    """Maximum number of real frames that are observed before the first prediction."""


@dataclass(frozen=True)
class Past(Frame):
    """The previous frame, and the predictor's state."""

    state: State = ()
    """State after the frames that were observed; empty if there are none."""
    unobserved: tuple[Tensor, ...] = ()
    """Images [B, 3, H, W], oldest first, that are observed before the next frame is predicted."""
    count: int = 0
    """Number of frames in this past."""

    def map(self, change: Callable[[Tensor], Tensor]) -> Past:
        state, unobserved = (tuple(map(change, tensors)) for tensors in (self.state, self.unobserved))
        return Past(**vars(super().map(change)), state=state, unobserved=unobserved, count=self.count)


class Predictor(Generator):
    """A generator that is defined by `observe` and `predict`."""

    config: PredictorConfig

    @abstractmethod
    def observe(self, state: State, image: Tensor) -> State:
        """The state after a further frame [B, 3, H, W] in [-1, 1]; an empty state: it is the first frame."""

    @abstractmethod
    def predict(self, state: State) -> Tensor:
        """The frame after those that were observed, [B, 3, H, W] in [-1, 1]."""

    def encode_examples(self, examples: Frame | None) -> Code:
        return Code(examples)

    def select_examples(self, code: Code, indices: Sequence[int]) -> Code:
        return code

    def synthesize(self, code: Code, driving: Frame, past: Frame | None = None) -> Synthesis:
        """Predict the next frame; only the size of `driving` is used. Without a past, the frame is grey."""
        before = _as_past(past)
        state = before.state
        for image in before.unobserved:
            state = self.observe(state, image.to(driving.semantic.dtype))
        if not state:
            grey = driving.semantic.new_zeros(len(driving.semantic), 3, *driving.semantic.shape[-2:], dtype=torch.float32)
            return Synthesis(grey, grey)
        frame = self.predict(state).float()
        return Synthesis(frame, frame, state=state)

    def remember(self, driving: Frame, made: Synthesis, past: Frame | None) -> Past:
        before = _as_past(past)
        real = driving.image is not None and before.count < self.config.past_frames
        image = driving.required_image if real else made.frame
        unobserved = (image,) if made.state else (*before.unobserved, image)
        state = made.state or before.state
        return Past(driving.semantic, driving.keypoints, image, state=state, unobserved=unobserved, count=before.count + 1)


def _as_past(past: Frame | None) -> Past:
    if isinstance(past, Past):
        return past
    nothing = torch.empty(0)
    if past is None:
        return Past(nothing, nothing)
    return Past(past.semantic, past.keypoints, past.image, unobserved=(past.required_image,), count=1)


class ConvLSTM(nn.Module):
    """A convolutional LSTM without peepholes (Shi et al. 2015), 3x3.

    i, f, o = s(W [x, h] + b);  c' = f c + i tanh(W [x, h] + b);  h' = o tanh(c')

    The state is kept in float32. s is the sigmoid, or clip(0.2 x + 0.5, 0, 1) if `hard`. forget: initial bias of f.
    """

    def __init__(self, inputs: int, hidden: int, *, hard: bool = False, forget: float = 0.0) -> None:
        super().__init__()
        self.hidden, self.hard = hidden, hard
        self.gates = nn.Conv2d(inputs + hidden, 4 * hidden, 3, 1, 1)
        assert self.gates.bias is not None
        nn.init.xavier_uniform_(self.gates.weight)
        nn.init.zeros_(self.gates.bias)
        nn.init.constant_(self.gates.bias[hidden : 2 * hidden], forget)

    def forward(self, x: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        """x [B, inputs, h, w], hidden and cell [B, hidden, h, w] -> the next hidden and cell."""
        i, f, o, g = self.gates(torch.cat([x, hidden.to(x.dtype)], 1)).to(cell.dtype).chunk(4, 1)
        i, f, o = ((0.2 * gate + 0.5).clamp(0, 1) if self.hard else torch.sigmoid(gate) for gate in (i, f, o))
        cell = f * cell + i * torch.tanh(g)
        return o * torch.tanh(cell), cell


def conv3x3(inputs: int, outputs: int) -> nn.Conv2d:
    """A convolution with the initialisation that the authors of both methods use (Glorot and Bengio 2010)."""
    layer = nn.Conv2d(inputs, outputs, 3, 1, 1)
    return initialise_glorot(layer)


def initialise_glorot(layer: nn.Conv2d) -> nn.Conv2d:
    assert layer.bias is not None
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
