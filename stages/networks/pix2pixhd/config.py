"""Dimensions and presets of pix2pixHD."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from stages.networks.common.config import GeneratorConfig


@dataclass(frozen=True)
class Pix2PixHDConfig(GeneratorConfig):
    """A global network and local enhancers. Each enhancer doubles the image size and halves the number of filters."""

    family: ClassVar[str] = "pix2pixhd"
    few_shot: ClassVar[bool] = False

    filters: int = 64
    """Channels of the global network's first layer; each halving doubles them."""
    downs: int = 4
    """Number of halvings in the global network."""
    blocks: int = 9
    """Number of residual blocks at the smallest size of the global network."""
    enhancers: int = 0
    """Number of local enhancers."""
    enhancer_blocks: int = 3
    """Number of residual blocks in each enhancer."""

    @property
    def halvings(self) -> int:
        return self.downs + self.enhancers


PRESETS: dict[str, GeneratorConfig] = {
    "pix2pixhd": Pix2PixHDConfig(kind="segment", semantic_channels=35, size=(512, 1024)),
    "pix2pixhd-2048": Pix2PixHDConfig(kind="segment", semantic_channels=35, size=(1024, 2048), enhancers=1),
    "street-pix2pixhd": Pix2PixHDConfig(kind="segment", semantic_channels=11, size=(192, 256), filters=24, blocks=6),
    "tiny-pix2pixhd": Pix2PixHDConfig(size=(64, 64), filters=4, downs=2, blocks=1),
}
