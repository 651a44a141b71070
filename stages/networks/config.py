"""What shapes a generator: one frozen table, stored as JSON in the header of every model file."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

Combine = Literal["matting", "spade", "both"]


@dataclass(frozen=True)
class GeneratorConfig:
    """Dimensions of the few-shot generator. Level l works at 1 / 2^l of the picture's size."""

    kind: str = "landmarks"
    """The driving layer that the model was trained on; `synthesize` chooses the model by it."""
    semantic_channels: int = 7
    size: tuple[int, int] = (256, 256)
    """Height and width that the model was trained at."""
    channels: tuple[int, ...] = (16, 32, 64, 128, 256, 256)
    """Channels of H and of the example encoder E_F at each level; the last level is the bottleneck."""
    label_channels: tuple[int, ...] = (16, 32, 48, 64, 64, 64)
    """Channels of the label embedding p_S^0 at each level."""
    hidden: int = 32
    """Channels between the generated layers theta_S and theta_gamma, theta_beta."""
    adaptive_levels: int = 4
    """How many of the finest levels get generated weights; the others have learned ones."""
    weight_hidden: int = 128
    """Width of the MLPs E_P."""
    attention_level: int = 3
    attention_channels: int = 64
    flow_stride: int = 4
    """The flow network W and the occlusion mask M see pictures reduced by this factor."""
    flow_channels: tuple[int, ...] = (48, 96, 160, 192)
    flow_blocks: int = 2
    combine: Combine = "both"
    """How warped pictures enter the result: by matting (eq. 2 and 11), as guidance of the finest SPADE layers, or by both."""
    guided_levels: int = 3
    spectral: bool = False
    """Spectral normalisation of the generator's convolutions."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> GeneratorConfig:
        """Unknown keys are refused with TypeError: a model of another make must not load by accident."""
        known = {f.name for f in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise TypeError(f"unknown settings of a generator: {', '.join(unknown)}")
        plain: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        return cls(**plain)


PRESETS: dict[str, GeneratorConfig] = {
    "face-256": GeneratorConfig(),
    "pose-256": GeneratorConfig(kind="poses", semantic_channels=3),
    "tiny": GeneratorConfig(
        size=(64, 64), channels=(8, 8, 16, 16), label_channels=(8, 8, 8, 8), hidden=8, adaptive_levels=2, weight_hidden=16,
        attention_level=2, attention_channels=8, flow_channels=(8, 16), flow_blocks=1, guided_levels=2,
    ),
}  # fmt: skip
