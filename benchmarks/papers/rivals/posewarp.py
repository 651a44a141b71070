"""The idea of PoseWarp (Balakrishnan et al., "Synthesizing images of humans in unseen poses", CVPR 2018).

The example is cut into limbs by soft masks, each limb is moved by the similarity transform between its joints here and there, and networks
paint the foreground from the moved limbs, fill the background where the person was, and lay one over the other (section 3 there).

Different from the original: poses come with the data instead of OpenPose; masks start from distances to the bones instead of from
Gaussians of hand-set covariance; moved limbs and known background also reach the result as they are, and not through networks alone, which
in a short training would only copy the example; layers, losses and schedule are those of the method it is compared with.
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

from .joints import places
from .still import Still


@dataclass(frozen=True)
class Limb:
    """joints: what the similarity is fitted to. bones: pairs of joints that the limb lies around. width: in lengths of the trunk."""

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
"""The ten of section 3.1: head, trunk, upper and lower arms and legs; a foot moves with its shin."""
SHORT = 0.02
"""Limbs that are not longer than about this, in heights of the image, say little of how they turned: they are held upright."""
EDGE, SURE = 1.6, 6.0
"""A limb ends at so many of its widths; on its bone its logit is so much above the background's."""
FALLBACK_TRUNK = 1 / 4
"""Length of a trunk that is not seen, in heights of the image."""


class PoseWarp(Still):
    """Source mask, background and foreground networks, all U-Nets."""

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
        limbs, behind = masks[:, :-1], masks[:, -1:]
        moved = move_limbs(image, limbs, places(source), places(driving))
        laid, cover = lay_together(moved)
        painted, anew, over = self.to_foreground(self.foreground(torch.cat([moved, driving], 1))[0]).float().split([3, 1, 1], 1)
        person = torch.lerp(laid, torch.tanh(painted), torch.sigmoid(anew))
        filled = torch.tanh(self.to_background(self.background(torch.cat([image * behind, behind, source], 1))[0]).float())
        background = torch.lerp(filled, image, behind)
        return torch.lerp(background, person, torch.sigmoid(over + SURE * (2 * cover - 1))), None

    def masks(self, image: Tensor, source: Tensor) -> Tensor:
        """What belongs to which limb, and last to the background: [B, 11, H, W], sums to 1 at each pixel (section 3.1)."""
        points, there = places(source)
        refined = self.to_masks(self.cut(torch.cat([image, source], 1))[0]).float()
        return (rough_masks(points, there, *image.shape[-2:]) + refined).softmax(1)


def rough_masks(points: Tensor, there: Tensor, height: int, width: int) -> Tensor:
    """Logits [B, 11, H, W] by the squared distance from a limb's bones, equal to the background's at `EDGE` widths of the limb.

    points [B, 25, 2] (x, y in pixels), there bool [B, 25]. A limb of which no bone is there gets next to nothing.
    """
    trunk = (points[:, NECK] - points[:, MID_HIP]).norm(dim=-1)
    trunk = torch.where(there[:, NECK] & there[:, MID_HIP], trunk, FALLBACK_TRUNK * height).clamp(min=SHORT * height)
    logits = []
    for limb in LIMBS:
        away = torch.stack([_distance(points[:, bone], there[:, bone].all(1), height, width) for bone in map(list, limb.bones)])
        widths = away.amin(0) / (limb.width * trunk)[:, None, None]
        logits.append(-SURE * (widths / EDGE).square().clamp(max=9))
    return torch.stack([*logits, torch.full_like(logits[0], -SURE)], 1)


def _distance(ends: Tensor, there: Tensor, height: int, width: int) -> Tensor:
    """From each pixel to the segment between ends [B, 2, 2], in pixels: [B, H, W]; infinite where there is none."""
    pixels = _pixels(height, width, ends.device)
    start, along = ends[:, 0, None, None], (ends[:, 1] - ends[:, 0])[:, None, None]
    share = ((pixels - start) * along).sum(-1) / along.square().sum(-1).clamp(min=1e-6)
    away = (pixels - start - share.clamp(0, 1)[..., None] * along).norm(dim=-1)
    return torch.where(there[:, None, None], away, torch.inf)


def move_limbs(image: Tensor, masks: Tensor, source: tuple[Tensor, Tensor], driving: tuple[Tensor, Tensor]) -> Tensor:
    """Each limb cut out and moved to where it is in the frame, with its mask: [B, 4 L, H, W] (section 3.2).

    image [B, 3, H, W], masks [B, L, H, W]; source and driving as `places` gives them. What is not seen in both is left out.
    """
    (from_points, from_there), (to_points, to_there) = source, driving
    height, width = image.shape[-2:]
    pixels = torch.view_as_complex(_pixels(height, width, image.device))
    moved = []
    for number, limb in enumerate(LIMBS):
        joints = list(limb.joints)
        both = (from_there & to_there)[:, joints]
        turn, shift = similarity(to_points[:, joints], from_points[:, joints], both, SHORT * height)
        origin = turn[:, None, None] * pixels + shift[:, None, None]
        grid = torch.stack([origin.real * (2 / max(width - 1, 1)) - 1, origin.imag * (2 / max(height - 1, 1)) - 1], -1)
        mask = masks[:, number, None]
        cut = torch.cat([image * mask, mask], 1)
        seen = (both.sum(1) >= 2)[:, None, None, None]
        moved.append(F.grid_sample(cut, grid, align_corners=True) * seen)
    return torch.cat(moved, 1)


def lay_together(moved: Tensor) -> tuple[Tensor, Tensor]:
    """The limbs of `move_limbs` as one image [B, 3, H, W], their mean by their masks where they overlap, and how much of each pixel they
    cover, [B, 1, H, W] in [0, 1]."""
    limbs = moved.unflatten(1, (-1, 4)).sum(1)
    return limbs[:, :3] / limbs[:, 3:].clamp(min=0.05), limbs[:, 3:].clamp(max=1)


def similarity(points: Tensor, targets: Tensor, there: Tensor, short: float) -> tuple[Tensor, Tensor]:
    """The rotation, scale and shift that take points to targets with the least squared error, as target = turn point + shift.

    points, targets [B, N, 2] as x + iy, there bool [B, N] says which pairs count -> turn, shift: complex [B]. In complex numbers it is a
    regression on a line. A prior of weight `short`^2 holds the turn at 1, which decides where all points are at one place.
    """
    a, b = torch.view_as_complex(points.contiguous()), torch.view_as_complex(targets.contiguous())
    weight = there / there.sum(1, keepdim=True).clamp(min=1)
    middle_a, middle_b = (weight * a).sum(1), (weight * b).sum(1)
    from_a, from_b = a - middle_a[:, None], b - middle_b[:, None]
    prior = short**2
    turn = ((weight * from_a.conj() * from_b).sum(1) + prior) / ((weight * from_a.abs().square()).sum(1) + prior)
    return turn, middle_b - turn * middle_a


def _pixels(height: int, width: int, device: torch.device) -> Tensor:
    """x and y of each pixel, [H, W, 2]."""
    y, x = torch.meshgrid(torch.arange(height, device=device), torch.arange(width, device=device), indexing="ij")
    return torch.stack([x, y], -1).float()
