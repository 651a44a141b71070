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
    """Dimensions and variants of the few-shot generator. Level l has 1 / 2^l of the size of the image; level 0 is the finest."""

    family: ClassVar[str] = FIRST_FAMILY
    few_shot: ClassVar[bool] = True

    channels: tuple[int, ...] = (16, 32, 64, 128, 256, 256)
    """Channels of H and of the example encoder E_F at each level; the last level is the bottleneck."""
    label_channels: tuple[int, ...] = (16, 32, 48, 64, 64, 64)
    """Channels of the label embedding p_S^0 at each level."""
    method: Method = "weights"
    """How H uses the examples. weights: by generated weights; the others are the baselines of few-shot vid2vid's table 1 (baselines.py)."""
    pooling: Literal["average", "outer"] = "average"
    """The input of E_P. average: features of E_F, averaged over the image, as in the paper. outer: products of image features with label
    features, averaged over the image, as in the public code; E_F then has two encoders, and E_P makes matrices row by row."""
    label_embedding: Literal["learned", "generated"] = "learned"
    """Whether the weights of the label embedding at the adaptive levels are learned or generated. Generated layers are 1x1."""
    hidden: int = 32
    """Output channels of the generated layer theta_S; 0: there is no theta_S, and gamma and beta are computed from the label embedding."""
    adaptive_levels: int = 4
    """Number of levels, the finest ones, whose SPADE layers have generated weights; the others have learned weights."""
    weight_hidden: int = 128
    """Width of the MLPs of E_P with average pooling."""
    norm: Literal["instance", "batch"] = "instance"
    """The normalisation in SPADE layers."""
    spade_shortcut: bool = False
    """True: the shortcut of a block that changes the number of channels has a SPADE layer, and other shortcuts are the identity. False:
    every shortcut is a 1x1 convolution."""
    attention: AttentionKind = "pixel"
    """pixel: attention to every pixel of the examples. compact: to `bases` that summarise them (adaptive compact attention)."""
    attention_level: int = 3
    """The level whose features are attended to."""
    attention_channels: int = 64
    """Channels of the keys."""
    attention_shared: bool = True
    """Whether E_A is one network for semantic images of examples and driving frames (the paper), or two (the public code)."""
    bases: int = 128
    """p, the number of bases of compact attention."""
    basis_iterations: int = 3
    """Number of times that eq. 1 to 3 of compact attention are applied."""
    basis_momentum: float = 0.9
    """lambda of eq. 3 of compact attention."""
    basis_norm: Literal["mean", "unit"] = "mean"
    """norm of eq. 2 and 4 of compact attention. mean: divide by the sum of the attention. unit: scale to length 1."""
    flow_stride: int = 4
    """The flow network W and the occlusion mask M see images that are smaller by this factor."""
    flow_channels: tuple[int, ...] = (48, 96, 160, 192)
    """Channels of W at each level."""
    flow_blocks: int = 2
    """Number of residual blocks in W."""
    flow_skips: bool = True
    """Whether W has the skip connections of a U-Net."""
    flow_shared: bool = True
    """Whether one W and M serves the examples and the previous frame, or each has its own."""
    motion: Literal["learned", "keypoints"] = "learned"
    """learned: W starts near zero flow, as in the papers. keypoints: W chooses among motions computed from keypoints (motion.py)."""
    spline_smoothing: tuple[float, ...] = (1e-3, 1e-1)
    """lambda of each thin-plate spline through the landmarks of a face, for coordinates in heights of the image. The first fits the face
    closely; the second is stiff, for its surroundings."""
    instances: int = 0
    """Number of instances of a label map, the largest ones, whose motion is a candidate."""
    warp_all: bool = False
    """True: all examples are warped, and each pixel is a blend of them. False: only e_1 is warped."""
    warp_example: bool = True
    """Whether examples are warped (eq. 11), or only the previous frame."""
    refine_mask: bool = True
    """Whether a layer on the features of H corrects the masks of M."""
    combine: Combine = "both"
    """How warped images enter the result. matting: eq. 2 and 11. spade: as guidance of the finest SPADE layers. both: in both ways."""
    guidance: Literal["ladder", "unet"] = "ladder"
    """The network that makes guidance features from warped images. ladder: one encoder for example and previous frame. unet: a U-Net for
    each, as in the public code."""
    guided_levels: int = 3
    """Number of levels, the finest ones, whose SPADE layers have guidance."""
    spectral: bool = False
    """Whether the convolutions of the generator have spectral normalisation."""

    @property
    def halvings(self) -> int:
        return len(self.channels) - 1

    @property
    def show_choices(self) -> tuple[str, ...]:
        return ("result", "raw", "warp", "mask") if self.warp_example else ("result", "raw")

    @property
    def warps_example(self) -> bool:
        return self.warp_example

    def can_train_motion_only(self, max_examples: int) -> bool:
        """True if every example is warped, or there is only one; else the attention must be trained too, because it chooses e_1."""
        return self.warp_example and (self.warp_all or max_examples == 1)

    def key_entries(self) -> dict[str, Any]:
        return {"attention": self.attention}


PAPER = FewShotConfig(
    semantic_channels=1, channels=(32, 64, 128, 256, 512, 1024), label_channels=(32, 64, 128, 256, 512, 1024),
    pooling="outer", label_embedding="generated", hidden=0, spade_shortcut=True, attention_level=2, attention_channels=128,
    flow_stride=1, flow_channels=(32, 64, 128, 256), flow_blocks=6, flow_skips=False, refine_mask=False,
    combine="spade", guidance="unet", guided_levels=2, spectral=True,
)  # fmt: skip
"""The dimensions of few-shot vid2vid's public code: about 112 million parameters, and 72 GMAC for a frame of 256x256 pixels."""

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
