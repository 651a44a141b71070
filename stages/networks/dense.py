"""The small network for dense prediction that is shipped for street segmentation and for pose estimation.

The encoder is that of SqueezeNet, so that it can be initialised with ImageNet weights; the decoder adds the encoder's features from coarse
to fine. The first convolution and the pooling layers of SqueezeNet have no padding, which shifts its feature maps by a few pixels; those of
this encoder have padding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stages.networks.features.squeezenet import MEAN_BGR, Fire


@dataclass(frozen=True)
class DenseConfig:
    """outputs: channels of the result. stride: the image's size divided by that of the result, 2 or 4. width: channels of the decoder."""

    outputs: int
    stride: int = 4
    width: int = 128


class DenseNet(nn.Module):
    """Images [B, 3, H, W], RGB in [-1, 1], sides multiples of 16 -> [B, outputs, H / stride, W / stride]."""

    mean: Tensor

    def __init__(self, config: DenseConfig) -> None:
        super().__init__()
        self.config = config
        self.features = nn.Sequential(
            nn.Conv2d(3, 96, 7, stride=2, padding=3), nn.ReLU(), _pool(),
            Fire(96, 16, 64), Fire(128, 16, 64), Fire(128, 32, 128), _pool(),
            Fire(256, 32, 128), Fire(256, 48, 192), Fire(384, 48, 192), Fire(384, 64, 256), _pool(),
            Fire(512, 64, 256),
        )  # fmt: skip
        width = config.width
        self.context = Context(512, width)
        self.at_8 = Merge(width, 512, width)
        self.at_4 = Merge(width, 256, width * 3 // 4)
        self.at_2 = Merge(width * 3 // 4, 96, width // 4) if config.stride == 2 else None
        self.head = nn.Conv2d(width // 4 if config.stride == 2 else width * 3 // 4, config.outputs, 1)
        self.register_buffer("mean", torch.tensor(MEAN_BGR).view(1, 3, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        x = (image.flip(1) + 1) * 127.5 - self.mean
        maps = []
        for layer in self.features:
            if isinstance(layer, nn.MaxPool2d):
                maps.append(x)
            x = layer(x)
        at_2, at_4, at_8 = maps
        x = self.at_4(self.at_8(self.context(x), at_8), at_4)
        result: Tensor = self.head(x if self.at_2 is None else self.at_2(x, at_2))
        return result

    def initialise_from(self, squeezenet: Mapping[str, Tensor]) -> None:
        """Initialise the encoder with SqueezeNet's tensors, from the file `stages.networks.features.squeezenet.WEIGHTS`."""
        prefix = "features."
        self.features.load_state_dict({key.removeprefix(prefix): v.float() for key, v in squeezenet.items() if key.startswith(prefix)})


class Context(nn.Module):
    """Adds context to features: the mean over the whole image, then depthwise convolutions with increasing dilation."""

    def __init__(self, channels: int, width: int, dilations: tuple[int, ...] = (1, 2, 4, 8)) -> None:
        super().__init__()
        self.reduce = _block(channels, width, 1)
        self.whole = nn.Conv2d(width, width, 1)
        self.steps = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, width, 3, padding=d, dilation=d, groups=width, bias=False), _block(width, width, 1))
            for d in dilations
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.reduce(x)
        x = x + self.whole(x.mean((2, 3), keepdim=True))
        for step in self.steps:
            x = x + step(x)
        return x


class Merge(nn.Module):
    """Upsamples a coarse feature map and adds the encoder's feature map of the same size."""

    def __init__(self, coarse: int, fine: int, width: int) -> None:
        super().__init__()
        self.coarse = nn.Conv2d(coarse, width, 1, bias=False)
        self.fine = nn.Conv2d(fine, width, 1, bias=False)
        self.norm = nn.Sequential(nn.BatchNorm2d(width), nn.ReLU())
        self.mix = _block(width, width, 3)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        upsampled = F.interpolate(self.coarse(coarse), size=fine.shape[-2:], mode="bilinear", align_corners=False)
        result: Tensor = self.mix(self.norm(upsampled + self.fine(fine)))
        return result


def _block(channels: int, width: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, width, kernel, padding=kernel // 2, bias=False), nn.BatchNorm2d(width), nn.ReLU())


def _pool() -> nn.MaxPool2d:
    return nn.MaxPool2d(3, stride=2, padding=1)
