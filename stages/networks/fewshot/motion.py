"""Motion from keypoints: backward flows, computed in closed form from the keypoints of a driving frame and of a source image.

    candidates = Candidates(config)                                   # for the driving kind of the model
    flows, prior = candidates(driving, sources, (height, width), stride)

Everything is computed in float32. A flow is the offset from each position of the driving frame to its position in the source:
out(x) = in(x + flow(x)). Missing or degenerate keypoints do not lead to extreme flows:

* a point that is missing in one of the frames is ignored;
* without any common point the flow of the whole is 0; a part without common points moves like the whole; a part with one common point,
  or a very short limb, is shifted to its position in the source and rotates and scales like the whole;
* if the points lie on a line or are fewer than `MIN_POINTS`, the spline is replaced by the similarity;
* a transform scales by at most `MAX_SCALE`, and neither component of a flow is larger than `MAX_FLOW` heights of the image.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stages.networks.fewshot.config import FewShotConfig

MIN_SPREAD = 0.015
"""If the points of a part are closer together than about this, in heights of the image, it rotates and scales like the whole. An
instance whose driving box has a shorter side is ignored."""
MAX_SCALE = 4.0
MAX_FLOW = 1.5
MIN_POINTS = 4
"""Smallest number of points for a spline; they must not lie on a line."""
FAR = 9.0
"""The distance to a missing point, in heights of the image."""
MIN_MINOR_DEVIATION = 0.01
"""Points lie on a line if their standard deviation across it is smaller than this, in heights of the image."""


@dataclass(frozen=True)
class Part:
    """A rigid part of a body: the keypoints to which its transform is fitted, and the bones (pairs of keypoints) inside it."""

    points: tuple[int, ...]
    bones: tuple[tuple[int, int], ...]
    width: float
    """Distance from its bones to its border, in lengths of the trunk."""


BODY_PARTS: tuple[Part, ...] = (
    Part((0, 15, 16, 17, 18), ((0, 1), (15, 16), (17, 18)), 0.3),
    Part((1, 2, 5, 8, 9, 12), ((1, 8), (2, 9), (5, 12), (2, 5), (9, 12)), 0.25),
    *(Part(bone, (bone,), 0.2) for bone in ((2, 3), (3, 4), (5, 6), (6, 7), (9, 10), (12, 13))),
    Part((10, 11), ((10, 11), (11, 22)), 0.18), Part((13, 14), ((13, 14), (14, 19)), 0.18),
    *(Part(tuple(range(first, first + 21)), ((first, first + 9), (first + 5, first + 17)), 0.12) for first in (25, 46)),
)  # fmt: skip
"""Head, trunk, upper and lower arms and legs (right before left; feet belong to the lower legs), and hands, with points of BODY_25
followed by those of the hands."""
NECK, MID_HIP = 1, 8
FALLBACK_TRUNK = 0.25
"""Assumed length of a trunk that is not visible, in heights of the image."""
FACE_POINTS, BODY_POINTS = 78, 67
INSTANCE_POINTS = 2
"""The keypoints of an instance of a label map are the upper left and the lower right corner of its box."""


class Candidates(nn.Module):
    """The motions among which W chooses. Faces: identity, similarity, thin-plate splines. Bodies: identity, the similarity of the whole
    and of each part. Label maps: identity, and a shift and scale for each instance that has keypoints.

    Each candidate has a flow and prior logits, which depend on the distance from its keypoints.
    """

    def __init__(self, config: FewShotConfig) -> None:
        super().__init__()
        self.kind = config.kind.split("+")[0]
        self.smoothing, self.instances = config.spline_smoothing, config.instances
        if self.kind == "landmarks":
            self.points, self.count = FACE_POINTS, 2 + len(self.smoothing)
        elif self.kind == "poses":
            self.points, self.count = BODY_POINTS, 2 + len(BODY_PARTS)
        else:
            self.points, self.count = INSTANCE_POINTS * self.instances, 1 + self.instances

    def forward(self, driving: Tensor, sources: Tensor, size: tuple[int, int], stride: int) -> tuple[Tensor, Tensor]:
        """driving [B, N, 3] and S sources [B, S, N, 3]: keypoints (x, y in pixels, confidence) in images of `size` (height, width).

        Returns flows [B, S, C, 2, h, w] in pixels of the full-size image and prior logits [B, S, C, h, w], at 1 / stride of the size.
        """
        with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
            return self._motions(driving, sources, size, stride)

    def _motions(self, driving: Tensor, sources: Tensor, size: tuple[int, int], stride: int) -> tuple[Tensor, Tensor]:
        height = size[0]
        grid = pixel_grid(size, stride, driving.device) / height  # from here on, coordinates are in heights of the image
        driving_points, shown = driving[..., :2].float() / height, driving[..., 2] > 0
        source_points, common = sources[..., :2].float() / height, shown[:, None] & (sources[..., 2] > 0)
        if self.kind == "landmarks":
            flows, prior = _face_candidates(driving_points, shown, source_points, common, grid, self.smoothing)
        elif self.kind == "poses":
            flows, prior = _body_candidates(driving_points, shown, source_points, common, grid)
        else:
            count = INSTANCE_POINTS * self.instances
            flows, prior = _box_candidates(driving_points[:, None, :count], source_points[:, :, :count], common[:, :, :count], grid)
        flows = flows.nan_to_num(0.0, 0.0, 0.0).clamp(-MAX_FLOW, MAX_FLOW) * height
        return flows.movedim(-1, 3), prior


def pixel_grid(size: tuple[int, int], stride: int, device: torch.device) -> Tensor:
    """x and y in pixels of the centres of all cells of stride x stride pixels, [h, w, 2]."""
    y, x = (torch.arange(side // stride, device=device, dtype=torch.float32) * stride + (stride - 1) / 2 for side in size)
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)


@dataclass(frozen=True)
class Similarity:
    """source = rotation * driving + shift, with points as complex numbers x + iy. The tensors are [*, 2]: real and imaginary part."""

    rotation: Tensor
    """Rotation and scale."""
    shift: Tensor

    def at(self, grid: Tensor) -> Tensor:
        """The positions in the source of the positions grid [h, w, 2], for each transform: [*, h, w, 2]."""
        return _multiply(self.rotation[..., None, None, :], grid) + self.shift[..., None, None, :]

    def apply(self, points: Tensor) -> Tensor:
        """The positions in the source of points [*, N, 2], which differ between transforms."""
        return _multiply(self.rotation[..., None, :], points) + self.shift[..., None, :]


def _multiply(a: Tensor, b: Tensor) -> Tensor:
    """The product of complex numbers, [*, 2] each. ONNX has real tensors only."""
    i_b = torch.stack([-b[..., 1], b[..., 0]], -1)
    return a[..., :1] * b + a[..., 1:] * i_b


def similarity(driving: Tensor, source: Tensor, common: Tensor, whole: Similarity | None = None) -> Similarity:
    """The least-squares rotation, scale and shift from driving [*, N, 2] to source [*, N, 2]; coordinates in heights of the image.

    Only points with common [*, N] count. This is a complex linear regression. A prior of weight MIN_SPREAD^2 pulls the rotation and scale
    to those of `whole` (1 without it). Without common points the result is `whole` (the identity without it).
    """
    count = common.sum(-1, keepdim=True)
    weight = (common / count.clamp(min=1))[..., None]
    a, b = (torch.where(common[..., None], points, 0) for points in (driving, source))  # other points may have any value, even NaN
    mean_a, mean_b = (weight * a).sum(-2), (weight * b).sum(-2)
    centred_a, centred_b = a - mean_a[..., None, :], b - mean_b[..., None, :]
    prior = torch.ones_like(mean_a) * mean_a.new_tensor([1, 0]) if whole is None else whole.rotation
    variance = (weight * centred_a.square()).sum((-2, -1))[..., None]
    conjugate = centred_a * centred_a.new_tensor([1, -1])
    rotation = ((weight * _multiply(conjugate, centred_b)).sum(-2) + MIN_SPREAD**2 * prior) / (variance + MIN_SPREAD**2)
    scale = rotation.norm(dim=-1, keepdim=True)
    rotation = rotation * (scale.clamp(1 / MAX_SCALE, MAX_SCALE) / scale.clamp(min=1e-6))
    rotation = torch.where(scale > 1e-6, rotation, prior)
    none = count == 0
    prior_shift = torch.zeros_like(mean_a) if whole is None else whole.shift
    return Similarity(torch.where(none, prior, rotation), torch.where(none, prior_shift, mean_b - _multiply(rotation, mean_a)))


def splines(
    driving: Tensor, shown: Tensor, sources: Tensor, common: Tensor, grid: Tensor, start: Similarity, smoothing: tuple[float, ...]
) -> tuple[Tensor, Tensor]:
    """Thin-plate splines from the points of a driving frame [B, N, 2] to those of S sources [B, S, N, 2], evaluated at grid [h, w, 2].

    Coordinates are in heights of the image. A spline (radial basis r^2 log r, smoothing on the diagonal) is fitted to the residuals of the
    similarity `start` [B, S] at the points with common [B, S, N]. If these are too few or on a line, the spline is 0.

    Returns the positions in the sources [B, S, L, h, w, 2] for L smoothings, and the distance [B, h, w] from each position of the grid to
    the nearest point with shown [B, N].
    """
    driving = torch.where(shown[..., None], driving, 0)
    residuals = torch.where(common[..., None], sources - start.apply(driving[:, None].expand_as(sources)), 0)
    coefficients = _spline_coefficients(driving, residuals, common, smoothing).flatten(1, 3)  # [B, S L 2, N + 3]; 0 for points not common
    positions = grid.flatten(0, 1)
    squared = _squared_distances(driving, shown, positions)
    nearest = squared.amin(1).sqrt().unflatten(1, grid.shape[:2])
    plane = torch.cat([torch.ones_like(positions[:, :1]), positions], 1)
    offsets = coefficients[..., :-3] @ _basis_in_place(squared) + coefficients[..., -3:] @ plane.mT
    offsets = offsets.view(*residuals.shape[:2], len(smoothing), 2, *grid.shape[:2]).movedim(3, -1)
    return start.at(grid)[:, :, None] + offsets, nearest


def _squared_distances(points: Tensor, shown: Tensor, positions: Tensor) -> Tensor:
    """Squared distances [B, N, n] from points [B, N, 2] to positions [n, 2], by one matrix product; FAR^2 more for points not shown."""
    norm = points.square().sum(-1, keepdim=True) + torch.where(shown, 0.0, FAR**2)[..., None]
    points = torch.cat([-2 * points, norm, torch.ones_like(norm)], -1)
    positions = torch.cat([positions, torch.ones_like(positions[:, :1]), positions.square().sum(-1, keepdim=True)], -1)
    return (points @ positions.mT).clamp_(min=1e-12)


def _basis_in_place(squared: Tensor) -> Tensor:
    """r^2 log r of squared distances, which are overwritten. Allocating new memory would take five times as long."""
    return squared.mul_(squared.log().mul_(0.5))


def _spline_coefficients(driving: Tensor, residuals: Tensor, common: Tensor, smoothing: tuple[float, ...]) -> Tensor:
    """Coefficients [B, S, L, 2, N + 3] of L splines, for x and y, with the values `residuals` [B, S, N, 2] at the points [B, N, 2].

    The first N belong to the basis functions of the points, the last three to 1, x and y.
    """
    count, size, device = common.sum(-1), driving.shape[1], driving.device
    weight = common / count.clamp(min=1)[..., None]
    solvable = (count >= MIN_POINTS) & (_minor_deviation(driving[:, None], weight) > MIN_MINOR_DEVIATION)
    kernel = _basis_in_place((driving[:, :, None] - driving[:, None]).square().sum(-1).clamp_(min=1e-12))
    kernel = torch.where(common[..., :, None] & common[..., None, :], kernel[:, None], 0)
    plane = torch.cat([torch.ones_like(driving[..., :1]), driving], -1)[:, None] * common[..., None]
    upper, lower = torch.cat([kernel, plane], -1), F.pad(plane.mT, (0, 3))
    lambdas = torch.tensor(smoothing, device=device)
    diagonal = F.pad(torch.where(common[:, :, None], lambdas[:, None], 1.0), (0, 3))
    unit = torch.eye(size + 3, device=device)
    system = torch.cat([upper, lower], -2)[:, :, None] + diagonal[..., None] * unit
    system = torch.where(solvable[..., None, None, None], system, unit)
    values = torch.where(solvable[..., None, None], F.pad(residuals, (0, 0, 0, 3)), 0)
    solution: Tensor = torch.linalg.solve_ex(system, values[:, :, None].expand(-1, -1, len(smoothing), -1, -1))[0]
    return solution.mT


def _minor_deviation(points: Tensor, weight: Tensor) -> Tensor:
    """Standard deviation [*] of points [*, N, 2] along their minor axis, with weights [*, N]."""
    mean = (weight[..., None] * points).sum(-2, keepdim=True)
    x, y = (points - mean).unbind(-1)
    xx, yy, xy = ((weight * a * b).sum(-1) for a, b in ((x, x), (y, y), (x, y)))
    smaller_eigenvalue = (xx + yy) / 2 - ((xx - yy).square() / 4 + xy.square()).clamp(min=0).sqrt()
    return smaller_eigenvalue.clamp(min=0).sqrt()


def _face_candidates(
    driving: Tensor, shown: Tensor, sources: Tensor, common: Tensor, grid: Tensor, smoothing: tuple[float, ...]
) -> tuple[Tensor, Tensor]:
    """Flows [B, S, C, h, w, 2] and prior logits [B, S, C, h, w]. driving [B, N, 2], sources [B, S, N, 2], in heights of the image."""
    whole = similarity(driving[:, None].expand_as(sources), sources, common)
    positions, distance = splines(driving, shown, sources, common, grid, whole, smoothing)
    flows = torch.cat([torch.zeros_like(positions[:, :, :1]), whole.at(grid)[:, :, None] - grid, positions - grid], 2)
    near = torch.exp(-(distance / 0.1).square())  # the first spline is likely at the landmarks, the others and the similarity around them
    around = torch.exp(-(distance / 0.3).square())
    prior = torch.stack([1 - 2 * around, around, 3 * near, *[around] * (len(smoothing) - 1)], 1)
    return flows, prior[:, None].expand(-1, sources.shape[1], -1, -1, -1)


def _body_candidates(driving: Tensor, shown: Tensor, sources: Tensor, common: Tensor, grid: Tensor) -> tuple[Tensor, Tensor]:
    """As `_face_candidates`. The prior of a part falls with the distance from its bones."""
    repeated = driving[:, None].expand_as(sources)
    whole = similarity(repeated, sources, common)
    trunk = (driving[:, NECK] - driving[:, MID_HIP]).norm(dim=-1)
    trunk = torch.where(shown[:, NECK] & shown[:, MID_HIP], trunk, FALLBACK_TRUNK).clamp(min=0.03)
    flows, priors = [whole.at(grid) - grid], []
    for part in BODY_PARTS:
        points = list(part.points)
        transform = similarity(repeated[:, :, points], sources[:, :, points], common[:, :, points], whole)
        flows.append(transform.at(grid) - grid)
        distance = _distance_to_bones(driving, shown, part.bones, grid) / (part.width * trunk)[:, None, None]
        priors.append(4 - 4 * distance.square().clamp(max=3))
    zeros = torch.zeros_like(priors[0])
    prior = torch.stack([zeros, zeros - 2, *priors], 1)[:, None].expand(-1, sources.shape[1], -1, -1, -1)
    return torch.stack([torch.zeros_like(flows[0]), *flows], 2), prior


def _distance_to_bones(points: Tensor, shown: Tensor, bones: tuple[tuple[int, int], ...], grid: Tensor) -> Tensor:
    """Distance [B, h, w] from each position [h, w, 2] to the nearest bone whose ends are both shown; `FAR` without such a bone."""
    nearest = torch.full((len(points), *grid.shape[:2]), FAR, device=grid.device)
    for start, end in bones:
        origin, bone = points[:, start, None, None], (points[:, end] - points[:, start])[:, None, None]
        fraction = ((grid - origin) * bone).sum(-1) / bone.square().sum(-1).clamp(min=1e-9)
        distance = (grid - origin - fraction.clamp(0, 1)[..., None] * bone).norm(dim=-1)
        nearest = torch.minimum(nearest, torch.where((shown[:, start] & shown[:, end])[:, None, None], distance, FAR))
    return nearest


def _box_candidates(driving: Tensor, sources: Tensor, common: Tensor, grid: Tensor) -> tuple[Tensor, Tensor]:
    """As `_face_candidates`, with driving [B, 1, N, 2]: for each instance the shift and the scale along each axis between its boxes.

    A box is given by two opposite corners.
    """
    flows = [torch.zeros_like(grid).expand(*sources.shape[:2], -1, -1, -1)]
    prior = [torch.zeros(grid.shape[:2], device=grid.device).expand(*sources.shape[:2], -1, -1)]
    for first in range(0, driving.shape[2], INSTANCE_POINTS):
        low, high = driving[..., first, :], driving[..., first + 1, :]
        usable = common[..., first : first + 2].all(-1) & ((high - low) > MIN_SPREAD).all(-1)
        size = torch.where(usable[..., None], high - low, 1.0)[..., None, None, :]
        source_low, source_high = sources[..., first, :][..., None, None, :], sources[..., first + 1, :][..., None, None, :]
        scale = ((source_high - source_low) / size).clamp(1 / MAX_SCALE, MAX_SCALE)
        offset = grid - ((low + high) / 2)[..., None, None, :]
        flows.append(torch.where(usable[..., None, None, None], (source_low + source_high) / 2 + offset * scale - grid, 0))
        distance = (offset.abs() / (size / 2)).amax(-1)  # 1 at the border of the box
        prior.append(torch.where(usable[..., None, None], torch.where(distance <= 1.05, 2.0, -4.0), -8.0))
    return torch.stack(flows, 2), torch.stack(prior, 2)
