"""MCNet (Villegas et al., "Decomposing motion and content for natural video sequence prediction", ICLR 2017).

    d_t, c_t = f_dyn(x_t - x_{t-1}, d_{t-1}, c_{t-1})      motion: a convolutional LSTM on differences of grey frames       (1)
    s_t = f_cont(x_t)                                      content of the last frame                                        (2)
    f_t = g_comb([d_t, s_t])                               both, combined                                                   (3)
    r_t = f_res([s_t, d_t]) at each scale                  residual connections, from features before each pooling          (4)
    x_{t+1} = f_dec(f_t, r_t)                                                                                               (5)

A predicted frame is fed back as x_{t+1}. The loss is L_p + L_gdl with p = 2 and lambda = 1 (eq. 6 to 8), plus beta times an adversarial
term on sequences of frames. The dimensions are those of the public code. Different from the original: the adversary is the video
discriminator D_V of this package, which sees three frames and their flow, instead of a network for all frames of a window.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stages.networks.common.discriminator_inputs import History
from stages.networks.common.generator import Synthesis
from stages.networks.common.objective import Discriminators, LossWeights, PerceptualDistance, Target

from .predictor import ConvLSTM, Predictor, PredictorConfig, State, conv3x3, initialise_glorot

LUMA = (0.299, 0.587, 0.114)
SCALES = 3


@dataclass(frozen=True)
class MCNetConfig(PredictorConfig):
    family: ClassVar[str] = "mcnet"

    filters: int = 64
    """Channels at the finest of the three scales; they double from each scale to the next coarser one."""

    @property
    def halvings(self) -> int:
        return SCALES


class MCNet(Predictor):
    """The state consists of the last frame, d_t, c_t, and the motion features of each scale before pooling, finest first."""

    config: MCNetConfig

    def __init__(self, config: MCNetConfig) -> None:
        super().__init__()
        self.config = config
        a, b, c = widths = [config.filters * 2**scale for scale in range(SCALES)]
        kernels = (5, 5, 7)
        inputs = [1, a, b]
        self.motion = nn.ModuleList(
            initialise_glorot(nn.Conv2d(i, o, k, 1, k // 2)) for i, o, k in zip(inputs, widths, kernels, strict=True)
        )
        self.dynamics = ConvLSTM(c, c, forget=1.0)
        self.content = nn.ModuleList([_convolutions(3, a, a), _convolutions(a, b, b), _convolutions(b, c, c, c)])
        self.combine = _convolutions(2 * c, c, b, c)
        self.residual = nn.ModuleList(nn.Sequential(*_convolutions(2 * w, w), conv3x3(w, w)) for w in widths)
        self.decode = nn.ModuleList([_convolutions(a, a), _convolutions(b, b, a), _convolutions(c, c, c, b)])
        self.to_image = conv3x3(a, 3)

    def observe(self, state: State, image: Tensor) -> State:
        if not state:
            return (image, *self._no_motion(image))
        before, hidden, cell, *_ = state
        x, features = _grey(image - before.to(image.dtype)) / 2, []
        for layer in self.motion:
            features.append(F.relu(layer(x)))
            x = F.max_pool2d(features[-1], 2)
        hidden, cell = self.dynamics(x, hidden, cell)  # eq. 1
        return (image, hidden, cell, *features)

    def predict(self, state: State) -> Tensor:
        image, hidden, _, *motion = state
        x, content = image, []
        for layer in self.content:
            content.append(layer(x))
            x = F.max_pool2d(content[-1], 2)  # eq. 2
        x = self.combine(torch.cat([hidden.to(x.dtype), x], 1))  # eq. 3
        for scale in reversed(range(SCALES)):
            residual = self.residual[scale](torch.cat([motion[scale], content[scale]], 1))  # eq. 4
            x = self.decode[scale](unpool(x) + residual)
        return torch.tanh(self.to_image(x))  # eq. 5

    def _no_motion(self, image: Tensor) -> list[Tensor]:
        """The state without the image after a single frame: zeros, because there is no difference yet."""
        height, width = image.shape[-2:]
        widths = [self.config.filters * 2**scale for scale in range(SCALES)]
        features = [image.new_zeros(len(image), w, height >> scale, width >> scale) for scale, w in enumerate(widths)]
        dtype = torch.promote_types(image.dtype, torch.float32)
        zeros = torch.zeros(len(image), widths[-1], height >> SCALES, width >> SCALES, device=image.device, dtype=dtype)
        return [zeros, zeros, *features]


def unpool(x: Tensor) -> Tensor:
    """[B, C, H, W] -> [B, C, 2H, 2W]: each value at the top left of its block of four, zeros elsewhere."""
    spread = x.new_zeros(*x.shape[:2], 2 * x.shape[2], 2 * x.shape[3])
    spread[..., ::2, ::2] = x
    return spread


def _convolutions(*channels: int) -> nn.Sequential:
    pairs = zip(channels, channels[1:], strict=False)
    return nn.Sequential(*(layer for i, o in pairs for layer in (conv3x3(i, o), nn.ReLU())))


def _grey(image: Tensor) -> Tensor:
    """[B, 3, H, W] -> [B, 1, H, W]"""
    return (image * image.new_tensor(LUMA)[:, None, None]).sum(1, keepdim=True)


def mcnet_losses(
    synthesis: Synthesis,
    target: Target,
    weights: LossWeights,
    perceptual: PerceptualDistance | None,
    discriminators: Discriminators | None,
    past: History,
) -> dict[str, Tensor]:
    """L_img of images in [0, 1] (eq. 7 and 8), and the adversarial term, whose weight beta is `video_gan`."""
    made, truth = (synthesis.frame + 1) / 2, (target.image + 1) / 2
    terms = {"image": F.mse_loss(made, truth), "gradient": gradient_difference(made, truth)}
    if discriminators is not None and weights.video_gan:
        adversarial = discriminators.generator_terms(target, synthesis.frame, past)
        if "video_gan" in adversarial:
            terms["video_gan"] = weights.video_gan * adversarial["video_gan"]
    return terms


def gradient_difference(made: Tensor, truth: Tensor) -> Tensor:
    """L_gdl with lambda = 1, as a mean over pixels: the difference of absolute image gradients, vertical and horizontal (eq. 8)."""
    return sum((F.l1_loss(made.diff(dim=axis).abs(), truth.diff(dim=axis).abs()) for axis in (-2, -1)), made.new_zeros(()))
