"""PredNet (Lotter et al., "Deep predictive coding networks for video prediction and unsupervised learning", ICLR 2017).

Layer l predicts its target A_l from its representation R_l and passes the error E_l up to the next layer; representations are passed down
(section 2):

    A_0 = x_t,  A_l = maxpool(relu(conv(E_{l-1})))                        (1)
    Ahat_l = relu(conv(R_l)); Ahat_0 is clipped at 1                         (2)
    E_l = [relu(A_l - Ahat_l), relu(Ahat_l - A_l)]                        (3)
    R_l of t = convlstm(E_l of t - 1, R_l of t - 1, upsample(R_{l+1} of t))   (4)

The dimensions are those of the public code. The loss is L_0, the error of the pixels, with which the paper gets the best frames. As in
section 3.2, the network first learns to predict the frame after real frames, then also the frame after its own predictions. Different from
the original: the biases of Ahat_0 start at grey, because the gradient of black pixels is zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stages.networks.common.discriminator_inputs import History
from stages.networks.common.generator import Synthesis
from stages.networks.common.layers import upsample
from stages.networks.common.objective import Discriminators, LossWeights, PerceptualDistance, Target

from .predictor import ConvLSTM, Predictor, PredictorConfig, State, conv3x3

GREY = 0.5
"""Initial bias of the predicted image, in [0, 1]."""


@dataclass(frozen=True)
class PredNetConfig(PredictorConfig):
    family: ClassVar[str] = "prednet"

    layer_channels: tuple[int, ...] = (3, 48, 96, 192)
    """Channels of A_l and R_l, lowest layer first; A_0 is the image."""

    @property
    def halvings(self) -> int:
        return len(self.layer_channels) - 1


class PredNet(Predictor):
    """The state is R_l of all layers, then their LSTM cells, each lowest layer first, as equation 4 gives them for the next frame."""

    config: PredNetConfig

    def __init__(self, config: PredNetConfig) -> None:
        super().__init__()
        self.config = config
        channels = config.layer_channels
        above = [*channels[1:], 0]
        self.represent = nn.ModuleList(ConvLSTM(2 * c + up, c, hard=True) for c, up in zip(channels, above, strict=True))
        self.to_prediction = nn.ModuleList(conv3x3(c, c) for c in channels)
        self.to_target = nn.ModuleList(conv3x3(2 * below, c) for below, c in pairwise(channels))
        nn.init.constant_(self.get_parameter("to_prediction.0.bias"), GREY)

    def observe(self, state: State, image: Tensor) -> State:
        hidden, cells = self._unpack(state or self._top_down(*self._initial(image)))
        return self._top_down(self.errors((image + 1) / 2, hidden), hidden, cells)

    def predict(self, state: State) -> Tensor:
        return 2 * self._prediction(0, state[0]) - 1

    def errors(self, target: Tensor, hidden: list[Tensor]) -> list[Tensor]:
        """E_l of all layers for a frame [B, 3, H, W] in [0, 1], lowest first (equations 1 to 3)."""
        errors = []
        for level, representation in enumerate(hidden):
            predicted = self._prediction(level, representation)
            errors.append(torch.cat([F.relu(target - predicted), F.relu(predicted - target)], 1))
            if level < len(self.to_target):
                target = F.max_pool2d(F.relu(self.to_target[level](errors[-1])), 2)
        return errors

    def _prediction(self, level: int, representation: Tensor) -> Tensor:
        """Ahat_l, equation 2."""
        layer = self.to_prediction[level]
        predicted = F.relu(layer(representation.to(next(layer.parameters()).dtype)))
        return predicted.clamp(max=1) if level == 0 else predicted

    def _top_down(self, errors: list[Tensor], hidden: list[Tensor], cells: list[Tensor]) -> State:
        """The state after equation 4, from the errors, representations and cells of all layers."""
        hidden, cells = list(hidden), list(cells)
        above: list[Tensor] = []
        for level in reversed(range(len(hidden))):
            inputs = torch.cat([errors[level], *(upsample(x).to(errors[level].dtype) for x in above)], 1)
            hidden[level], cells[level] = self.represent[level](inputs, hidden[level], cells[level])
            above = [hidden[level]]
        return (*hidden, *cells)

    def _initial(self, image: Tensor) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Errors, representations and cells before the first frame."""
        height, width = image.shape[-2:]
        sizes = [(len(image), c, height >> level, width >> level) for level, c in enumerate(self.config.layer_channels)]
        errors = [image.new_zeros(b, 2 * c, h, w) for b, c, h, w in sizes]
        hidden, cells = ([_zeros(image, size) for size in sizes] for _ in range(2))
        return errors, hidden, cells

    def _unpack(self, state: State) -> tuple[list[Tensor], list[Tensor]]:
        count = len(self.config.layer_channels)
        return list(state[:count]), list(state[count:])


def _zeros(image: Tensor, size: tuple[int, ...]) -> Tensor:
    return torch.zeros(size, device=image.device, dtype=torch.promote_types(image.dtype, torch.float32))


def prednet_losses(
    synthesis: Synthesis,
    target: Target,
    weights: LossWeights,
    perceptual: PerceptualDistance | None,
    discriminators: Discriminators | None,
    past: History,
) -> dict[str, Tensor]:
    """L_0, the mean of E_0. The first frame of a window, which has no previous frames, does not count."""
    error = F.l1_loss(synthesis.frame, target.image) / 4  # images in [0, 1] instead of [-1, 1], and two channels of E for each channel of A
    return {"error": error if past.real else 0 * error}
