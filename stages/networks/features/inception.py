"""Inception v3 for the Frechet inception distance: TensorFlow's network of 2015-12-05, not torchvision's.

It differs from the network of the paper (Szegedy et al. 2016): average pooling does not count the padding, and the last block uses max
pooling. The names of the parameters are those of the file that pytorch-fid and torch-fidelity publish.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WEIGHTS = "pt_inception-2015-12-05-6726825d.pth"
"""Name of a file in the weights registry; `inception` takes its tensors."""

FEATURES = 2048
SIDE = 299


class Conv(nn.Module):
    """A convolution without bias, a norm, a ReLU."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int | tuple[int, int], stride: int = 1, padding: int | tuple[int, int] = 0
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


class BlockA(nn.Module):
    """The block for 35 x 35 features (Szegedy et al. 2016, figure 5). pooled: output channels of the branch with pooling."""

    def __init__(self, inputs: int, pooled: int) -> None:
        super().__init__()
        self.branch1x1 = Conv(inputs, 64, 1)
        self.branch5x5_1, self.branch5x5_2 = Conv(inputs, 48, 1), Conv(48, 64, 5, padding=2)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = Conv(inputs, 64, 1), Conv(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = Conv(96, 96, 3, padding=1)
        self.branch_pool = Conv(inputs, pooled, 1)

    def forward(self, x: Tensor) -> Tensor:
        wide = self.branch5x5_2(self.branch5x5_1(x))
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat((self.branch1x1(x), wide, double, self.branch_pool(_average(x))), 1)


class BlockB(nn.Module):
    """The block that reduces 35 x 35 features to 17 x 17."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch3x3 = Conv(inputs, 384, 3, stride=2)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = Conv(inputs, 64, 1), Conv(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = Conv(96, 96, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat((self.branch3x3(x), double, F.max_pool2d(x, 3, 2)), 1)


class BlockC(nn.Module):
    """The block for 17 x 17 features (figure 6): convolutions of 1 x 7 and 7 x 1 instead of 7 x 7. width: their channels."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        row, column = {"kernel": (1, 7), "padding": (0, 3)}, {"kernel": (7, 1), "padding": (3, 0)}  # shapes of convolutions
        self.branch1x1 = Conv(inputs, 192, 1)
        self.branch7x7_1, self.branch7x7_2 = Conv(inputs, width, 1), _conv(width, width, row)
        self.branch7x7_3 = _conv(width, 192, column)
        self.branch7x7dbl_1, self.branch7x7dbl_2 = Conv(inputs, width, 1), _conv(width, width, column)
        self.branch7x7dbl_3, self.branch7x7dbl_4 = _conv(width, width, row), _conv(width, width, column)
        self.branch7x7dbl_5 = _conv(width, 192, row)
        self.branch_pool = Conv(inputs, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        once = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        twice = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        twice = self.branch7x7dbl_5(self.branch7x7dbl_4(twice))
        return torch.cat((self.branch1x1(x), once, twice, self.branch_pool(_average(x))), 1)


class BlockD(nn.Module):
    """The block that reduces 17 x 17 features to 8 x 8."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch3x3_1, self.branch3x3_2 = Conv(inputs, 192, 1), Conv(192, 320, 3, stride=2)
        self.branch7x7x3_1, self.branch7x7x3_2 = Conv(inputs, 192, 1), Conv(192, 192, (1, 7), padding=(0, 3))
        self.branch7x7x3_3, self.branch7x7x3_4 = Conv(192, 192, (7, 1), padding=(3, 0)), Conv(192, 192, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        large = self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x))))
        return torch.cat((self.branch3x3_2(self.branch3x3_1(x)), large, F.max_pool2d(x, 3, 2)), 1)


class BlockE(nn.Module):
    """The block for 8 x 8 features (figure 7). max_pooling: whether its pooling takes the maximum instead of the average."""

    def __init__(self, inputs: int, max_pooling: bool) -> None:
        super().__init__()
        self.max_pooling = max_pooling
        self.branch1x1 = Conv(inputs, 320, 1)
        self.branch3x3_1 = Conv(inputs, 384, 1)
        self.branch3x3_2a, self.branch3x3_2b = Conv(384, 384, (1, 3), padding=(0, 1)), Conv(384, 384, (3, 1), padding=(1, 0))
        self.branch3x3dbl_1, self.branch3x3dbl_2 = Conv(inputs, 448, 1), Conv(448, 384, 3, padding=1)
        self.branch3x3dbl_3a, self.branch3x3dbl_3b = Conv(384, 384, (1, 3), padding=(0, 1)), Conv(384, 384, (3, 1), padding=(1, 0))
        self.branch_pool = Conv(inputs, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        once = self.branch3x3_1(x)
        twice = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        split = (self.branch3x3_2a(once), self.branch3x3_2b(once), self.branch3x3dbl_3a(twice), self.branch3x3dbl_3b(twice))
        pooled = F.max_pool2d(x, 3, 1, 1) if self.max_pooling else _average(x)
        return torch.cat((self.branch1x1(x), *split, self.branch_pool(pooled)), 1)


class Inception(nn.Module):
    """Images [B, 3, H, W], RGB in 0..255, of any size -> features [B, 2048] of the last pooling layer. The parameters are frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3, self.Conv2d_2a_3x3 = Conv(3, 32, 3, stride=2), Conv(32, 32, 3)
        self.Conv2d_2b_3x3 = Conv(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1, self.Conv2d_4a_3x3 = Conv(64, 80, 1), Conv(80, 192, 3)
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = BlockA(192, 32), BlockA(256, 64), BlockA(288, 64)
        self.Mixed_6a = BlockB(288)
        self.Mixed_6b, self.Mixed_6c, self.Mixed_6d, self.Mixed_6e = (BlockC(768, width) for width in (128, 160, 160, 192))
        self.Mixed_7a = BlockD(768)
        self.Mixed_7b, self.Mixed_7c = BlockE(1280, max_pooling=False), BlockE(2048, max_pooling=True)
        self.requires_grad_(False)
        self.eval()

    def forward(self, image: Tensor) -> Tensor:
        x = (resize_as_tensorflow(image.float(), SIDE) - 128) / 128
        x = F.max_pool2d(self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x))), 3, 2)
        x = F.max_pool2d(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x)), 3, 2)
        x = self.Mixed_6a(self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(x))))
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(x))))
        features: Tensor = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x))).mean((2, 3))
        return features


def inception(state: Mapping[str, Tensor]) -> Inception:
    """The frozen feature network with the tensors of the file `WEIGHTS`, without those of its classifier.

    Raises RuntimeError, which names the tensors, when `state` belongs to another network.
    """
    model = Inception()
    model.load_state_dict({name: value for name, value in state.items() if not name.startswith("fc.")})
    return model


def resize_as_tensorflow(image: Tensor, side: int) -> Tensor:
    """[B, C, H, W] -> [B, C, side, side], with the bilinear interpolation of TensorFlow 1.

    Row i of the output is at row i H / side of the image (likewise for columns), and there is no antialiasing. Other libraries use other
    positions or antialiasing, which changes the Frechet distances.
    """
    return _resize_rows(_resize_rows(image.mT, side).mT, side)


def _resize_rows(image: Tensor, size: int) -> Tensor:
    height = image.shape[-2]
    position = torch.arange(size, device=image.device, dtype=torch.float32) * torch.tensor(height / size, dtype=torch.float32)
    above = position.long().clamp_max(height - 1)
    below = (above + 1).clamp_max(height - 1)
    upper = image[..., above, :]
    return upper + (image[..., below, :] - upper) * (position - above)[:, None]


def _average(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


def _conv(inputs: int, outputs: int, shape: dict[str, Any]) -> Conv:
    return Conv(inputs, outputs, **shape)
