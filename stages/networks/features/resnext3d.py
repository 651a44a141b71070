"""ResNeXt-101 with 3D convolutions (Hara et al. 2018), trained on Kinetics-400: the second network of vid2vid's video FID.

The names of the parameters are those in the entry `state_dict` of the authors' file, without the prefix `module.`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WEIGHTS = "resnext-101-kinetics.pth"
"""The authors' name of the file; `resnext3d` takes its content."""

FEATURES, FRAMES, SIDE = 2048, 16, 112
"""Number of features, number of frames of a video, and height and width of a frame."""
GROUPS, DEPTHS = 32, (3, 4, 23, 3)
"""Groups of the 3 x 3 x 3 convolutions, and number of blocks in each of the four stages."""
MEAN = (114.7748, 107.7354, 99.4750)
"""The mean colour of ActivityNet (R, G, B in 0..255), which the authors subtract."""


class Bottleneck(nn.Module):
    """A residual block of convolutions: 1 x 1 x 1, 3 x 3 x 3 in 32 groups, and 1 x 1 x 1 to twice the width."""

    def __init__(self, inputs: int, width: int, stride: int = 1) -> None:
        super().__init__()
        outputs = 2 * width
        self.conv1, self.bn1 = nn.Conv3d(inputs, width, 1, bias=False), nn.BatchNorm3d(width)
        self.conv2, self.bn2 = nn.Conv3d(width, width, 3, stride, 1, groups=GROUPS, bias=False), nn.BatchNorm3d(width)
        self.conv3, self.bn3 = nn.Conv3d(width, outputs, 1, bias=False), nn.BatchNorm3d(outputs)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv3d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm3d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        return F.relu(self.bn3(self.conv3(y)) + self.downsample(x))


class ResNeXt3d(nn.Module):
    """Videos [B, 3, T, 112, 112], RGB in 0..255 minus `MEAN`, T at least 16 -> features [B, 2048], averaged over time and space.

    The features are the inputs of the classifier. The parameters are frozen.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv3d(3, 64, 7, (1, 2, 2), 3, bias=False), nn.BatchNorm3d(64)
        inputs, stages = 64, []
        for stage, depth in enumerate(DEPTHS):
            width = 128 * 2**stage
            blocks = [Bottleneck(inputs if block == 0 else 2 * width, width, 2 if stage and not block else 1) for block in range(depth)]
            stages.append(nn.Sequential(*blocks))
            inputs = 2 * width
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.requires_grad_(False)
        self.eval()

    def forward(self, video: Tensor) -> Tensor:
        x = F.max_pool3d(F.relu(self.bn1(self.conv1(video))), 3, 2, 1)
        features: Tensor = self.layer4(self.layer3(self.layer2(self.layer1(x)))).mean((2, 3, 4))
        return features


def resnext3d(content: Mapping[str, Any]) -> ResNeXt3d:
    """The frozen network with the content of the file `WEIGHTS`, without the classifier.

    Raises RuntimeError, which names the tensors, when it belongs to another network.
    """
    model = ResNeXt3d()
    state = {name.removeprefix("module."): value for name, value in content["state_dict"].items()}
    model.load_state_dict({name: value for name, value in state.items() if not name.startswith("fc.")})
    return model


def preprocess(frames: Tensor) -> Tensor:
    """Frames [B, 3, H, W] in 0..255 -> [B, 3, 112, 112] minus `MEAN`. The whole frame is resized to a square, with antialiasing."""
    small = F.interpolate(frames.float(), (SIDE, SIDE), mode="bilinear", antialias=True)
    return small - torch.tensor(MEAN, device=frames.device).view(1, 3, 1, 1)
