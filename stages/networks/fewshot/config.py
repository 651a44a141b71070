"""Dimensions and variants of few-shot vid2vid, and its presets."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from stages.networks.common.config import FIRST_FAMILY, GeneratorConfig

Combine = Literal["matting", "spade", "both"]
Method = Literal["weights", "encoder", "concat", "adain", "spade"]
AttentionKind = Literal["pixel", "compact"]


@dataclass(frozen=True)
class FewShotConfig(GeneratorConfig):
    """Dimensions and variants of the few-shot generator. Level l works at 1 / 2^l of the image's size."""

    family: ClassVar[str] = FIRST_FAMILY
    few_shot: ClassVar[bool] = True

    channels: tuple[int, ...] = (16, 32, 64, 128, 256, 256)
    """Channels of H and of the example encoder E_F at each level; the last level is the bottleneck."""
    label_channels: tuple[int, ...] = (16, 32, 48, 64, 64, 64)
    """Channels of the label embedding p_S^0 at each level."""
    method: Method = "weights"
    """How the examples reach H: as generated weights, or as in the baselines of few-shot vid2vid's table 1; spade ignores them."""
    pooling: Literal["average", "outer"] = "average"
    """What E_P sees: E_F's features averaged over the image (the paper), or their products with those of the label, summed over it
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
    """The flow network W and the occlusion mask M see images reduced by this factor."""
    flow_channels: tuple[int, ...] = (48, 96, 160, 192)
    flow_blocks: int = 2
    flow_skips: bool = True
    flow_shared: bool = True
    """One W and M for the example and the previous frame, or one each."""
    motion: Literal["learned", "keypoints"] = "learned"
    """Where W begins: at rest, as in the papers, or with the motions that the keypoints of the two frames tell (motion.py)."""
    spline_smoothing: tuple[float, ...] = (1e-3, 1e-1)
    """lambda of each thin-plate spline through the landmarks of a face, whose coordinates are in heights of the image: one that follows
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
    """How warped images enter the result: by matting (eq. 2 and 11), as guidance of the finest SPADE layers, or by both."""
    guidance: Literal["ladder", "unet"] = "ladder"
    """Warped images as features: a small encoder for both, or the public code's U-Net for each."""
    guided_levels: int = 3
    spectral: bool = False
    """Spectral normalisation of the generator's convolutions."""

    @property
    def halvings(self) -> int:
        return len(self.channels) - 1

    @property
    def shows(self) -> tuple[str, ...]:
        return ("result", "raw", "warp", "mask") if self.warp_example else ("result", "raw")

    @property
    def warps_example(self) -> bool:
        return self.warp_example

    def trains_motion_alone(self, max_examples: int) -> bool:
        """Which of several examples to warp, the other networks choose."""
        return self.warp_example and (self.warp_all or max_examples == 1)

    def recorded(self) -> dict[str, Any]:
        return {"attention": self.attention}


PAPER = FewShotConfig(
    semantic_channels=1, channels=(32, 64, 128, 256, 512, 1024), label_channels=(32, 64, 128, 256, 512, 1024),
    pooling="outer", label_embedding="generated", hidden=0, spade_shortcut=True, attention_level=2, attention_channels=128,
    flow_stride=1, flow_channels=(32, 64, 128, 256), flow_blocks=6, flow_skips=False, refine_mask=False,
    combine="spade", guidance="unet", guided_levels=2, spectral=True,
)  # fmt: skip
"""The dimensions of few-shot vid2vid: about 112 million parameters, 72 GMAC for a 256x256 frame."""

PRESETS: dict[str, FewShotConfig] = {
    "face-256": FewShotConfig(kind="landmarks+iris", semantic_channels=8, motion="keypoints", warp_all=True),
    "pose-256": FewShotConfig(kind="poses", semantic_channels=3, size=(256, 128), bases=256, motion="keypoints", warp_all=True),
    "street-256": FewShotConfig(kind="segment", semantic_channels=11, size=(192, 256)),
    "paper": PAPER,
    "paper-512": replace(PAPER, size=(512, 512)),
    "paper-pose": replace(PAPER, kind="poses", semantic_channels=3, size=(512, 256), bases=256),
    "paper-densepose": replace(PAPER, kind="poses+densepose", semantic_channels=6, size=(512, 256), bases=256),
    "paper-street": replace(
        PAPER, kind="segment", semantic_channels=20, size=(256, 512), warp_example=False, combine="matting", guided_levels=0
    ),
    "tiny": FewShotConfig(
        size=(64, 64), channels=(8, 8, 16, 16), label_channels=(8, 8, 8, 8), hidden=8, adaptive_levels=2, weight_hidden=16,
        attention_level=2, attention_channels=8, flow_channels=(8, 16), flow_blocks=1, guided_levels=2,
    ),
    "tiny-paper": replace(
        PAPER, semantic_channels=7, size=(64, 64), channels=(8, 16, 32, 64), label_channels=(8, 16, 32, 64), adaptive_levels=2,
        attention_channels=8, flow_channels=(8, 16), flow_blocks=1,
    ),
}  # fmt: skip
