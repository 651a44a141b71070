"""What shapes a generator: one frozen table, stored as JSON in the header of every model file."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

Combine = Literal["matting", "spade", "both"]
Method = Literal["weights", "encoder", "concat", "adain", "spade"]
AttentionKind = Literal["pixel", "compact"]
LARGEST = 16384
"""No number of a configuration that comes from a file is larger."""
MAX_LEVELS = 16
"""No list of one is longer."""


@dataclass(frozen=True)
class GeneratorConfig:
    """Dimensions and variants of the few-shot generator. Level l works at 1 / 2^l of the picture's size."""

    kind: str = "landmarks"
    """The driving layer that the model was trained on; `synthesize` chooses the model by it."""
    semantic_channels: int = 7
    size: tuple[int, int] = (256, 256)
    """Height and width that the model was trained at."""
    channels: tuple[int, ...] = (16, 32, 64, 128, 256, 256)
    """Channels of H and of the example encoder E_F at each level; the last level is the bottleneck."""
    label_channels: tuple[int, ...] = (16, 32, 48, 64, 64, 64)
    """Channels of the label embedding p_S^0 at each level."""
    method: Method | str = "weights"
    """How the examples reach H: as generated weights, or as in the baselines of few-shot vid2vid's table 1; spade ignores them. Another
    name is that of a generator of one's own (stages/networks/methods.py)."""
    pooling: Literal["average", "outer"] = "average"
    """What E_P sees: E_F's features averaged over the picture (the paper), or their products with those of the label, summed over it
    (the public code, whose two stacks and row by row MLPs come with it)."""
    label_embedding: Literal["learned", "generated"] = "learned"
    """Whether the label embedding's own layers at the adaptive levels are generated, too; its 1x1 layers are then theta_S."""
    hidden: int = 32
    """Channels between the generated layers theta_S and theta_gamma, theta_beta; 0: gamma and beta straight from the embedding."""
    adaptive_levels: int = 4
    """How many of the finest levels get generated weights; the others have learned ones."""
    weight_hidden: int = 128
    """Width of the MLPs E_P with average pooling."""
    norm: Literal["instance", "batch"] = "instance"
    """What SPADE denormalises."""
    spade_shortcut: bool = False
    """Shortcuts that change the channels have a SPADE layer of their own; the others are the identity."""
    attention: AttentionKind = "pixel"
    """Attention to every pixel of the examples, or to `bases` that sum them up (adaptive compact attention)."""
    attention_level: int = 3
    attention_channels: int = 64
    attention_shared: bool = True
    """E_A is one network for the driving and the examples' semantic images (the paper), or two (the public code)."""
    bases: int = 128
    basis_iterations: int = 3
    basis_momentum: float = 0.9
    basis_norm: Literal["mean", "unit"] = "mean"
    """norm of eq. 2 and 4: divides by the attention that a basis got, or scales to length 1."""
    flow_stride: int = 4
    """The flow network W and the occlusion mask M see pictures reduced by this factor."""
    flow_channels: tuple[int, ...] = (48, 96, 160, 192)
    flow_blocks: int = 2
    flow_skips: bool = True
    flow_shared: bool = True
    """One W and M for the example and the previous frame, or one each."""
    motion: Literal["learned", "keypoints"] = "learned"
    """Where W begins: at rest, as in the papers, or with the motions that the keypoints of the two frames tell (networks/motion.py)."""
    spline_smoothing: tuple[float, ...] = (1e-3, 1e-1)
    """lambda of each thin-plate spline through the landmarks of a face, whose coordinates are in heights of the picture: one that follows
    the face closely, and a stiff one for what is around it."""
    instances: int = 0
    """The number of instances of a label map that are followed, the largest ones first."""
    warp_all: bool = False
    """With several examples all are warped, and each place takes one of them; else e_1 alone is."""
    warp_example: bool = True
    """Eq. 11; without it only the previous frame is warped."""
    refine_mask: bool = True
    """H has a say in the masks."""
    combine: Combine = "both"
    """How warped pictures enter the result: by matting (eq. 2 and 11), as guidance of the finest SPADE layers, or by both."""
    guidance: Literal["ladder", "unet"] = "ladder"
    """Warped pictures as features: a small encoder for both, or the public code's U-Net for each."""
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
        for name, value in plain.items():
            several = value if isinstance(value, tuple) else (value,)
            if len(several) > MAX_LEVELS or any(isinstance(number, (int, float)) and not 0 <= number <= LARGEST for number in several):
                raise ValueError(f"{name} has at most {MAX_LEVELS} numbers, from 0 to {LARGEST}")
        return cls(**plain)


PAPER = GeneratorConfig(
    semantic_channels=1, channels=(32, 64, 128, 256, 512, 1024), label_channels=(32, 64, 128, 256, 512, 1024),
    pooling="outer", label_embedding="generated", hidden=0, spade_shortcut=True, attention_level=2, attention_channels=128,
    flow_stride=1, flow_channels=(32, 64, 128, 256), flow_blocks=6, flow_skips=False, refine_mask=False,
    combine="spade", guidance="unet", guided_levels=2, spectral=True,
)  # fmt: skip
"""The dimensions of few-shot vid2vid: about 112 million parameters, 72 GMAC for a 256x256 frame."""

PRESETS: dict[str, GeneratorConfig] = {
    "face-256": GeneratorConfig(kind="landmarks+iris", semantic_channels=8, motion="keypoints", warp_all=True),
    "pose-256": GeneratorConfig(kind="poses", semantic_channels=3, size=(256, 128), bases=256, motion="keypoints", warp_all=True),
    "street-256": GeneratorConfig(kind="segment", semantic_channels=11, size=(192, 256)),
    "paper": PAPER,
    "paper-512": replace(PAPER, size=(512, 512)),
    "paper-pose": replace(PAPER, kind="poses", semantic_channels=3, size=(512, 256), bases=256),
    "paper-densepose": replace(PAPER, kind="poses+densepose", semantic_channels=6, size=(512, 256), bases=256),
    "paper-street": replace(
        PAPER, kind="segment", semantic_channels=20, size=(256, 512), warp_example=False, combine="matting", guided_levels=0
    ),
    "tiny": GeneratorConfig(
        size=(64, 64), channels=(8, 8, 16, 16), label_channels=(8, 8, 8, 8), hidden=8, adaptive_levels=2, weight_hidden=16,
        attention_level=2, attention_channels=8, flow_channels=(8, 16), flow_blocks=1, guided_levels=2,
    ),
    "tiny-paper": replace(
        PAPER, semantic_channels=7, size=(64, 64), channels=(8, 16, 32, 64), label_channels=(8, 16, 32, 64), adaptive_levels=2,
        attention_channels=8, flow_channels=(8, 16), flow_blocks=1,
    ),
}  # fmt: skip
