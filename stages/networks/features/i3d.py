"""I3D (Carreira and Zisserman 2017), trained on Kinetics-400: the network of Frechet video distances.

It is Inception v1 with 2D filters inflated to 3D. The names of the parameters and the epsilon of the norms are those of VideoGPT's
conversion of DeepMind's file.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stages.networks.features.inception import resize_as_tensorflow

WEIGHTS = "i3d_pretrained_400.pt"
"""Name of a file in the weights registry; `i3d` takes its tensors."""

FEATURES, CLASSES = 1024, 400
FRAMES, SIDE = 16, 224
"""Number of frames of a video, and their height and width."""

Shape = tuple[int, int, int]


class Unit(nn.Module):
    """A convolution with "same" padding, a norm and a ReLU. plain: only the convolution, with a bias."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, plain: bool = False) -> None:
        super().__init__()
        self.conv3d = nn.Conv3d(inputs, outputs, kernel, stride, bias=plain)
        self.bn = None if plain else nn.BatchNorm3d(outputs, eps=1e-5)

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.conv3d.kernel_size, self.conv3d.stride
        x = self.conv3d(_pad(x, (kernel[0], kernel[1], kernel[2]), (stride[0], stride[1], stride[2])))
        return x if self.bn is None else F.relu(self.bn(x))


class Mixed(nn.Module):
    """An Inception block with four parallel branches. widths: output channels of b0, b1a, b1b, b2a, b2b, b3b."""

    def __init__(self, inputs: int, widths: tuple[int, int, int, int, int, int]) -> None:
        super().__init__()
        self.b0 = Unit(inputs, widths[0])
        self.b1a, self.b1b = Unit(inputs, widths[1]), Unit(widths[1], widths[2], 3)
        self.b2a, self.b2b = Unit(inputs, widths[3]), Unit(widths[3], widths[4], 3)
        self.b3b = Unit(inputs, widths[5])

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(_pool(x, (3, 3, 3), (1, 1, 1)))), 1)


class I3d(nn.Module):
    """Videos [B, 3, T, 224, 224], RGB in [-1, 1], T at least 16 -> (features [B, 1024], logits [B, 400]), averaged over time.

    The features are the inputs of the classifier. The parameters are frozen.
    """

    def __init__(self) -> None:
        super().__init__()
        self.Conv3d_1a_7x7 = Unit(3, 64, 7, 2)
        self.Conv3d_2b_1x1, self.Conv3d_2c_3x3 = Unit(64, 64), Unit(64, 192, 3)
        self.Mixed_3b, self.Mixed_3c = Mixed(192, (64, 96, 128, 16, 32, 32)), Mixed(256, (128, 128, 192, 32, 96, 64))
        self.Mixed_4b, self.Mixed_4c = Mixed(480, (192, 96, 208, 16, 48, 64)), Mixed(512, (160, 112, 224, 24, 64, 64))
        self.Mixed_4d, self.Mixed_4e = Mixed(512, (128, 128, 256, 24, 64, 64)), Mixed(512, (112, 144, 288, 32, 64, 64))
        self.Mixed_4f = Mixed(528, (256, 160, 320, 32, 128, 128))
        self.Mixed_5b, self.Mixed_5c = Mixed(832, (256, 160, 320, 32, 128, 128)), Mixed(832, (384, 192, 384, 48, 128, 128))
        self.logits = Unit(FEATURES, CLASSES, plain=True)
        self.requires_grad_(False)
        self.eval()

    def forward(self, video: Tensor) -> tuple[Tensor, Tensor]:
        x = _pool(self.Conv3d_1a_7x7(video), (1, 3, 3), (1, 2, 2))
        x = _pool(self.Conv3d_2c_3x3(self.Conv3d_2b_1x1(x)), (1, 3, 3), (1, 2, 2))
        x = _pool(self.Mixed_3c(self.Mixed_3b(x)), (3, 3, 3), (2, 2, 2))
        for block in (self.Mixed_4b, self.Mixed_4c, self.Mixed_4d, self.Mixed_4e, self.Mixed_4f):
            x = block(x)
        x = self.Mixed_5c(self.Mixed_5b(_pool(x, (2, 2, 2), (2, 2, 2))))
        x = F.avg_pool3d(x, (2, 7, 7), 1)
        return x.mean((2, 3, 4)), self.logits(x).mean((2, 3, 4))


def i3d(state: Mapping[str, Tensor]) -> I3d:
    """The frozen network with the tensors of the file `WEIGHTS`.

    Raises RuntimeError, which names the tensors, when they belong to another network.
    """
    model = I3d()
    model.load_state_dict(dict(state))
    return model


def preprocess(frames: Tensor) -> Tensor:
    """Frames [B, 3, H, W] in 0..255 -> [B, 3, 224, 224] in [-1, 1], as in the public code of Unterthiner et al. 2018."""
    return resize_as_tensorflow(frames.float(), SIDE) * (2 / 255) - 1


def _pool(x: Tensor, kernel: Shape, stride: Shape) -> Tensor:
    """Max pooling with "same" padding. Zeros are neutral, because the inputs are outputs of a ReLU."""
    return F.max_pool3d(_pad(x, kernel, stride), kernel, stride)


def _pad(x: Tensor, kernel: Shape, stride: Shape) -> Tensor:
    """TensorFlow's padding "same" with zeros, for ceil(size / stride) outputs. If the number of zeros is odd, the end gets one more."""
    pads: list[int] = []
    for size, length, step in zip(reversed(x.shape[2:]), reversed(kernel), reversed(stride), strict=True):
        missing = max(length - (size % step or step), 0)
        pads += [missing // 2, missing - missing // 2]
    return F.pad(x, pads)
