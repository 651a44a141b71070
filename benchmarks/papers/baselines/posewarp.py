"""PoseWarp, reimplemented (Balakrishnan et al., "Synthesizing images of humans in unseen poses", CVPR 2018).

Soft masks cut the example into limbs, and each limb is moved by the similarity transform of its joints from the example to the frame.
Networks paint the foreground from the moved limbs, fill the background where the person was, and blend the two (section 3).

Different from the original: the poses are given instead of detected by OpenPose. Masks start from the distances to the bones, not from
Gaussians with hand-set covariances. Moved limbs and known background also reach the result directly; with networks alone, a short training
ended in copies of the example. Layers, losses and schedule are those of the other methods of the table.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from stages.conditions.poses import MID_HIP, NAMES, NECK
from stages.networks.common.frame import Warped
from stages.networks.common.layers import UNet, conv, initialise_small
from stages.networks.fewshot.config import FewShotConfig

from .animator import Animator
from .joints import joint_positions


@dataclass(frozen=True)
class Limb:
    """The joints that determine a limb's motion, the bones (pairs of joints) around which it lies, and its width in trunk lengths."""

    joints: tuple[int, ...]
    bones: tuple[tuple[int, int], ...]
    width: float


LIMBS = (
    Limb((0, 1, 15, 16, 17, 18), ((0, 1), (17, 18), (15, 16)), 0.25),
    Limb((1, 2, 5, 8, 9, 12), ((1, 8), (2, 9), (5, 12), (2, 5), (9, 12)), 0.2),
    *(Limb(bone, (bone,), 0.17) for bone in ((2, 3), (3, 4), (5, 6), (6, 7))),
    *(Limb(bone, (bone,), 0.2) for bone in ((9, 10), (12, 13))),
    Limb((10, 11), ((10, 11), (11, 22)), 0.14), Limb((13, 14), ((13, 14), (14, 19)), 0.14),
)  # fmt: skip
"""The ten limbs of section 3.1: head, trunk, upper and lower arms and legs. A foot moves with its shin."""
MIN_LIMB = 0.02
"""Relative to the height of the image. The rotation of a limb that is not longer than about this is unreliable and is kept small."""
EDGE = 1.6
"""A limb ends at this distance from its bones, in widths of the limb."""
BONE_LOGIT = 6.0
"""Logit of a limb on its bones, relative to the background."""
FALLBACK_TRUNK = 1 / 4
"""Length of a trunk that is not visible, relative to the height of the image."""


class PoseWarp(Animator):
    """Three U-Nets, for the masks of the example, the background and the foreground."""

    def __init__(self, config: FewShotConfig) -> None:
        super().__init__(config)
        channels, joints, layers = config.channels, len(NAMES), len(LIMBS) + 1
        self.cut = UNet(3 + joints, channels)
        self.to_masks = initialise_small(conv(channels[0], layers))
        self.background = UNet(4 + joints, channels)
        self.to_background = initialise_small(conv(channels[0], 3))
        self.foreground = UNet(4 * len(LIMBS) + joints, channels)
        self.to_foreground = initialise_small(conv(channels[0], 5))

    def move_image(self, image: Tensor, source: Tensor, driving: Tensor) -> tuple[Tensor, Warped | None]:
        masks = self.masks(image, source)
        limbs, background_mask = masks[:, :-1], masks[:, -1:]
        moved = move_limbs(image, limbs, joint_positions(source), joint_positions(driving))
        limb_image, cover = compose_limbs(moved)
        painted, paint_logit, person_logit = (
            self.to_foreground(self.foreground(torch.cat([moved, driving], 1))[0]).float().split([3, 1, 1], 1)
        )
        person = torch.lerp(limb_image, torch.tanh(painted), torch.sigmoid(paint_logit))
        filled = torch.tanh(
            self.to_background(self.background(torch.cat([image * background_mask, background_mask, source], 1))[0]).float()
        )
        background = torch.lerp(filled, image, background_mask)
        return torch.lerp(background, person, torch.sigmoid(person_logit + BONE_LOGIT * (2 * cover - 1))), None

    def masks(self, image: Tensor, source: Tensor) -> Tensor:
        """Masks of the ten limbs and the background, [B, 11, H, W], which sum to 1 at each pixel (section 3.1)."""
        points, present = joint_positions(source)
        refined = self.to_masks(self.cut(torch.cat([image, source], 1))[0]).float()
        return (rough_masks(points, present, *image.shape[-2:]) + refined).softmax(1)


def rough_masks(points: Tensor, present: Tensor, height: int, width: int) -> Tensor:
    """Logits [B, 11, H, W] that fall with the squared distance from a limb's bones and equal the background's at `EDGE` widths.

    points [B, 25, 2] (x, y in pixels), present bool [B, 25]. A limb without any present bone gets almost no weight.
    """
    trunk = (points[:, NECK] - points[:, MID_HIP]).norm(dim=-1)
    trunk = torch.where(present[:, NECK] & present[:, MID_HIP], trunk, FALLBACK_TRUNK * height).clamp(min=MIN_LIMB * height)
    logits = []
    for limb in LIMBS:
        distances = torch.stack([_distance(points[:, bone], present[:, bone].all(1), height, width) for bone in map(list, limb.bones)])
        widths = distances.amin(0) / (limb.width * trunk)[:, None, None]
        logits.append(-BONE_LOGIT * (widths / EDGE).square().clamp(max=9))
    return torch.stack([*logits, torch.full_like(logits[0], -BONE_LOGIT)], 1)


def _distance(ends: Tensor, present: Tensor, height: int, width: int) -> Tensor:
    """Distance [B, H, W] in pixels from each pixel to the segment between ends [B, 2, 2]; infinite if the segment is not present [B]."""
    pixels = _pixels(height, width, ends.device)
    start, along = ends[:, 0, None, None], (ends[:, 1] - ends[:, 0])[:, None, None]
    share = ((pixels - start) * along).sum(-1) / along.square().sum(-1).clamp(min=1e-6)
    distance = (pixels - start - share.clamp(0, 1)[..., None] * along).norm(dim=-1)
    return torch.where(present[:, None, None], distance, torch.inf)


def move_limbs(image: Tensor, masks: Tensor, source: tuple[Tensor, Tensor], driving: tuple[Tensor, Tensor]) -> Tensor:
    """Each limb cut out of the image and moved to its position in the frame, with its mask: [B, 4 L, H, W] (section 3.2).

    image [B, 3, H, W], masks [B, L, H, W]; source, driving: results of `joint_positions`. Only joints that are present in both count.
    """
    (from_points, from_present), (to_points, to_present) = source, driving
    height, width = image.shape[-2:]
    pixels = torch.view_as_complex(_pixels(height, width, image.device))
    moved = []
    for number, limb in enumerate(LIMBS):
        joints = list(limb.joints)
        present = (from_present & to_present)[:, joints]
        factor, shift = similarity(to_points[:, joints], from_points[:, joints], present, MIN_LIMB * height)
        origin = factor[:, None, None] * pixels + shift[:, None, None]
        grid = torch.stack([origin.real * (2 / max(width - 1, 1)) - 1, origin.imag * (2 / max(height - 1, 1)) - 1], -1)
        mask = masks[:, number, None]
        cut = torch.cat([image * mask, mask], 1)
        usable = (present.sum(1) >= 2)[:, None, None, None]
        moved.append(F.grid_sample(cut, grid, align_corners=True) * usable)
    return torch.cat(moved, 1)


def compose_limbs(moved: Tensor) -> tuple[Tensor, Tensor]:
    """The limbs of `move_limbs` as one image [B, 3, H, W], and their cover of each pixel, [B, 1, H, W] in [0, 1].

    Where limbs overlap, the image is their mean, weighted by their masks.
    """
    limbs = moved.unflatten(1, (-1, 4)).sum(1)
    return limbs[:, :3] / limbs[:, 3:].clamp(min=0.05), limbs[:, 3:].clamp(max=1)


def similarity(points: Tensor, targets: Tensor, present: Tensor, short: float) -> tuple[Tensor, Tensor]:
    """The similarity transform from points to targets with the least squared error: target = factor * point + shift in complex numbers.

    points, targets [B, N, 2], read as x + iy; present bool [B, N]: which pairs count. Returns factor (rotation and scale) and shift,
    complex [B]. A prior of weight `short`^2 pulls the factor towards 1. Without it, points that coincide would not determine the factor.
    """
    a, b = torch.view_as_complex(points.contiguous()), torch.view_as_complex(targets.contiguous())
    weight = present / present.sum(1, keepdim=True).clamp(min=1)
    mean_a, mean_b = (weight * a).sum(1), (weight * b).sum(1)
    from_a, from_b = a - mean_a[:, None], b - mean_b[:, None]
    prior = short**2
    factor = ((weight * from_a.conj() * from_b).sum(1) + prior) / ((weight * from_a.abs().square()).sum(1) + prior)
    return factor, mean_b - factor * mean_a


def _pixels(height: int, width: int, device: torch.device) -> Tensor:
    """x and y of each pixel, [H, W, 2]."""
    y, x = torch.meshgrid(torch.arange(height, device=device), torch.arange(width, device=device), indexing="ij")
    return torch.stack([x, y], -1).float()
