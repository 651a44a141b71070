"""E_F: the encoder of the examples, in two parts: before the attention, once per clip, and after it, for the attended features.

Its outputs are the bottleneck, which is the input of H, and for each level the features from which E_P makes the weights of that level.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stages.networks.common.layers import Encoder, activate, conv
from stages.networks.fewshot.config import FewShotConfig


class AveragedExamples(Encoder):
    """One encoder for image and semantic image. E_P gets features averaged over the image (section 3).

    The weights of level l of H are made from the features of level l + 1.
    """

    def __init__(self, config: FewShotConfig) -> None:
        super().__init__(3 + config.semantic_channels, config.channels, spectral=config.spectral)
        self.level = config.attention_level

    def before_attention(self, image: Tensor, semantic: Tensor) -> tuple[Tensor, list[Tensor]]:
        """[B, 3, H, W], [B, S, H, W] -> q at the attention's level, and the averages [B, C] of the levels 1 to `attention_level` - 1."""
        x = activate(self.first(torch.cat([image, semantic], 1)))
        averages = []
        for layer in self.down[: self.level]:
            x = activate(layer(x))
            averages.append(average(x))
        return x, averages[:-1]

    def after_attention(self, q: Tensor) -> tuple[Tensor, list[Tensor]]:
        """q [B, C, h, w] -> the bottleneck, and the averages [B, C] of the attention's level and of the coarser levels."""
        averages = [average(q)]
        for layer in self.down[self.level :]:
            q = activate(layer(q))
            averages.append(average(q))
        return q, averages


class OuterExamples(nn.Module):
    """Two encoders, for image and semantic image, then layers that reduce the channels. E_P gets products of both features.

    As in the public code, a softmax over channels makes each label feature a map of weights. A product contains, for each of these maps and
    each image feature, the mean over the image of weight times feature. Its size does not depend on that of the image.
    """

    def __init__(self, config: FewShotConfig) -> None:
        super().__init__()
        self.level = config.attention_level
        self.image = Encoder(3, config.channels, spectral=config.spectral)
        self.label = Encoder(config.semantic_channels, config.channels, spectral=config.spectral)
        pairs = list(zip(config.channels, config.channels[1:], strict=False))[1:]
        self.reduce_image, self.reduce_label = (nn.ModuleList(conv(b, a, spectral=config.spectral) for a, b in pairs) for _ in range(2))

    def before_attention(self, image: Tensor, semantic: Tensor) -> tuple[Tensor, list[Tensor]]:
        """[B, 3, H, W], [B, S, H, W] -> image and label features at the attention's level, concatenated [B, 2 C, h, w]; an empty list."""
        return torch.cat([self._encode(self.image, image), self._encode(self.label, semantic)], 1), []

    def after_attention(self, q: Tensor) -> tuple[Tensor, list[Tensor]]:
        """q [B, 2 C, h, w] -> the bottleneck of the image, and a product [B, C, C] for each level except the finest, finest first."""
        image, label = q.chunk(2, 1)
        for layer in self.image.down[self.level :]:
            image = activate(layer(image))
        for layer in self.label.down[self.level :]:
            label = activate(layer(label))
        bottleneck, products = image, [_product(image, label)]
        for reduce_image, reduce_label in zip(reversed(self.reduce_image), reversed(self.reduce_label), strict=True):
            image, label = activate(reduce_image(image)), activate(reduce_label(label))
            products.append(_product(image, label))
        return bottleneck, products[::-1]

    def _encode(self, encoder: Encoder, x: Tensor) -> Tensor:
        """Features of an encoder at the attention's level."""
        x = activate(encoder.first(x))
        for layer in encoder.down[: self.level]:
            x = activate(layer(x))
        return x


def _product(image: Tensor, label: Tensor) -> Tensor:
    """Image and label features [B, C, h, w] -> [B, C, C]: the mean over the image of each image feature times each map of weights."""
    return image.flatten(2) @ label.softmax(1).flatten(2).mT / image[0, 0].numel()


def average(x: Tensor) -> Tensor:
    """[B, C, H, W] -> [B, C], the mean over all positions."""
    return x.mean((-2, -1))
