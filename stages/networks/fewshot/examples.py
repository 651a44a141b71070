"""E_F: features of the examples, up to the attention (of each example, once per clip) and after it (of what the attention made of them).

Both kinds give a bottleneck, from which H starts, and for each level what E_P makes that level's weights from.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stages.networks.common.layers import Encoder, activate, conv
from stages.networks.fewshot.config import FewShotConfig


class AveragedExamples(Encoder):
    """One ladder over image and semantic image; q^l of each level, averaged over the image, goes to E_P^l (section 3)."""

    def __init__(self, config: FewShotConfig) -> None:
        super().__init__(3 + config.semantic_channels, config.channels, spectral=config.spectral)
        self.level = config.attention_level

    def before(self, image: Tensor, semantic: Tensor) -> tuple[Tensor, list[Tensor]]:
        """[B, 3, H, W], [B, S, H, W] -> q at the attention's level, and the averages [B, C] of the levels above it."""
        x = activate(self.first(torch.cat([image, semantic], 1)))
        averages = []
        for layer in self.down[: self.level]:
            x = activate(layer(x))
            averages.append(average(x))
        return x, averages[:-1]

    def after(self, q: Tensor) -> tuple[Tensor, list[Tensor]]:
        """q [B, C, h, w] -> the bottleneck, and the averages [B, C] of the attention's level and those below it."""
        averages = [average(q)]
        for layer in self.down[self.level :]:
            q = activate(layer(q))
            averages.append(average(q))
        return q, averages


class OuterExamples(nn.Module):
    """Two ladders, for images and semantic images, then layers that only reduce the channels; their products go to E_P.

    This is what the public code does: at each level the label's features, a softmax over channels, say which feature of the image
    belongs to which part. The product does not depend on the image's size.
    """

    def __init__(self, config: FewShotConfig) -> None:
        super().__init__()
        self.level = config.attention_level
        self.image = Encoder(3, config.channels, spectral=config.spectral)
        self.label = Encoder(config.semantic_channels, config.channels, spectral=config.spectral)
        pairs = list(zip(config.channels, config.channels[1:], strict=False))[1:]
        self.reduce_image, self.reduce_label = (nn.ModuleList(conv(b, a, spectral=config.spectral) for a, b in pairs) for _ in range(2))

    def before(self, image: Tensor, semantic: Tensor) -> tuple[Tensor, list[Tensor]]:
        """[B, 3, H, W], [B, S, H, W] -> the features of both at the attention's level, one after the other [B, 2 C, h, w]; nothing else."""
        return torch.cat([self._down(self.image, image), self._down(self.label, semantic)], 1), []

    def after(self, q: Tensor) -> tuple[Tensor, list[Tensor]]:
        """q [B, 2 C, h, w] -> the bottleneck of the image, and a product [B, C, C] for each level but the first."""
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

    def _down(self, ladder: Encoder, x: Tensor) -> Tensor:
        x = activate(ladder.first(x))
        for layer in ladder.down[: self.level]:
            x = activate(layer(x))
        return x


def _product(image: Tensor, label: Tensor) -> Tensor:
    """How much of each feature of the image each feature of the label sees: [B, C, h, w] twice -> [B, C, C]."""
    return image.flatten(2) @ label.softmax(1).flatten(2).mT / image[0, 0].numel()


def average(x: Tensor) -> Tensor:
    """[B, C, H, W] -> [B, C]."""
    return x.mean((-2, -1))
