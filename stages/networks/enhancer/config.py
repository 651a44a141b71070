"""Dimensions and presets of the local enhancer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from stages.networks.common.config import BaseModel, GeneratorConfig


@dataclass(frozen=True)
class EnhancerConfig(GeneratorConfig):
    """`size` is twice that of the base model; kind and number of semantic channels are those of the base model."""

    family: ClassVar[str] = "enhancer"
    few_shot: ClassVar[bool] = True

    base: str = "face-256.safetensors"
    """The file of the base model, a few-shot model that warps examples: its name in the registry of weights, or a path."""
    base_sha256: str = ""
    """Identifies this file. Training fills it in."""
    channels: tuple[int, ...] = (24, 48, 72, 96)
    """Channels of the U-Net at each level. Its finest level has the size of the base model's images."""
    detail_channels: int = 32
    """Channels of the layers that add detail, at the same size."""

    def __post_init__(self) -> None:
        if not (isinstance(self.base, str) and isinstance(self.base_sha256, str)) or "\0" in self.base:
            raise TypeError("the base of an enhancer is not the name of a file with its sha256")

    @property
    def halvings(self) -> int:
        return len(self.channels)

    @property
    def base_model(self) -> BaseModel:
        return BaseModel(self.base, self.base_sha256)

    @property
    def show_choices(self) -> tuple[str, ...]:
        return ("result", "raw", "warp", "mask")

    @property
    def warps_example(self) -> bool:
        return True


PRESETS: dict[str, GeneratorConfig] = {
    "face-512": EnhancerConfig(kind="landmarks+iris", semantic_channels=8, size=(512, 512)),
    "tiny-enhancer": EnhancerConfig(size=(64, 64), base="tiny.safetensors", channels=(8, 8), detail_channels=8),
}
