"""Motion that keypoints tell: backward flows in closed form, from the keypoints of a driving frame to those of a source image.

    candidates = Candidates(config)                                   # which there are depends on the kind of the model
    flows, prior = candidates(driving, sources, (height, width), stride)

All is computed in float32, whatever the images are in. A flow says for each place of the driving frame where it lies in the source:
out(x) = in(x + flow(x)). What the keypoints do not tell never makes a wild flow:

* a point that one of the frames lacks does not count;
* without any point the whole stands still; a part that is not seen in both frames moves as the whole does; a part with a single seen
  point, or a very short limb, is shifted to where that point is and turns as the whole does;
* points on a line, or fewer than `MIN_POINTS`, make no spline: it is the similarity then;
* a transform scales by a factor of `LARGEST_SCALE` at most, and no flow is longer than `LONGEST` heights of the image.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stages.networks.fewshot.config import FewShotConfig

SHORT = 0.015
"""A part whose points lie nearer together than about this, in heights of the image, says little of how it turned."""
LARGEST_SCALE = 4.0
LONGEST = 1.5
MIN_POINTS = 4
"""Number of points that a spline needs; they must not lie on a line."""
FAR = 9.0
"""Distance, in heights, to something that is not seen."""
NARROW = 0.01
"""Points that are spread across their main direction by less than this, in heights, lie on a line."""


@dataclass(frozen=True)
class Part:
    """Something rigid: the keypoints that its transform is fitted to, and the bones (pairs of keypoints) that it lies around."""

    points: tuple[int, ...]
    bones: tuple[tuple[int, int], ...]
    width: float
    """How far it reaches from its bones, in lengths of the trunk."""


BODY_PARTS: tuple[Part, ...] = (
    Part((0, 15, 16, 17, 18), ((0, 1), (15, 16), (17, 18)), 0.3),
    Part((1, 2, 5, 8, 9, 12), ((1, 8), (2, 9), (5, 12), (2, 5), (9, 12)), 0.25),
    *(Part(bone, (bone,), 0.2) for bone in ((2, 3), (3, 4), (5, 6), (6, 7), (9, 10), (12, 13))),
    Part((10, 11), ((10, 11), (11, 22)), 0.18), Part((13, 14), ((13, 14), (14, 19)), 0.18),
    *(Part(tuple(range(first, first + 21)), ((first, first + 9), (first + 5, first + 17)), 0.12) for first in (25, 46)),
)  # fmt: skip
"""Of BODY_25 with hands behind it: head, trunk, upper and lower arms and legs (right before left; a foot moves with its shin), hands."""
NECK, MID_HIP = 1, 8
FALLBACK_TRUNK = 0.25
"""Length of a trunk that is not seen, in heights of the image."""
BODY_POINTS = 67
INSTANCE_POINTS = 2
"""An instance of a label map is known by the upper left and the lower right corner of its box."""


class Candidates(nn.Module):
    """The motions that W chooses from. Faces: identity, similarity, thin-plate splines. Bodies: identity, the similarity of the whole and
    of each part. Label maps: identity, and a shift and scale for each instance that has keypoints.

    Beside each flow stands a prior: logits that say where a candidate is likely, by the distance from its keypoints.
    """

    def __init__(self, config: FewShotConfig) -> None:
        super().__init__()
        self.kind = config.kind.split("+")[0]
        self.smoothing, self.instances = config.spline_smoothing, config.instances
        if self.kind == "landmarks":
            self.count = 2 + len(self.smoothing)
        elif self.kind == "poses":
            self.count = 2 + len(BODY_PARTS)
        else:
            self.count = 1 + self.instances

    def forward(self, driving: Tensor, sources: Tensor, size: tuple[int, int], stride: int) -> tuple[Tensor, Tensor]:
        """driving [B, N, 3] and S sources [B, S, N, 3] (x, y in pixels, confidence) of images of `size` (height, width).

        Returns flows [B, S, C, 2, h, w] in pixels of the whole image and prior logits [B, S, C, h, w], at 1 / stride of the size.
        """
        with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
            return self._motions(driving, sources, size, stride)

    def _motions(self, driving: Tensor, sources: Tensor, size: tuple[int, int], stride: int) -> tuple[Tensor, Tensor]:
        height = size[0]
        grid = pixel_grid(size, stride, driving.device) / height  # coordinates in heights from here on
        to, shown = driving[..., :2].float() / height, driving[..., 2] > 0
        of, both = sources[..., :2].float() / height, shown[:, None] & (sources[..., 2] > 0)
        if self.kind == "landmarks":
            flows, prior = _face(to, shown, of, both, grid, self.smoothing)
        elif self.kind == "poses":
            flows, prior = _body(to, shown, of, both, grid)
        else:
            kept = INSTANCE_POINTS * self.instances
            flows, prior = _boxes(to[:, None, :kept], of[:, :, :kept], both[:, :, :kept], grid)
        flows = flows.nan_to_num(0.0, 0.0, 0.0).clamp(-LONGEST, LONGEST) * height
        return flows.movedim(-1, 3), prior


def pixel_grid(size: tuple[int, int], stride: int, device: torch.device) -> Tensor:
    """x and y in pixels of the centres of the cells of stride x stride pixels, [h, w, 2]."""
    y, x = (torch.arange(side // stride, device=device, dtype=torch.float32) * stride + (stride - 1) / 2 for side in size)
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)


@dataclass(frozen=True)
class Similarity:
    """source = turn * driving + shift, in complex numbers x + iy; of any shape [*]."""

    turn: Tensor
    shift: Tensor

    def at(self, places: Tensor) -> Tensor:
        """Where places [h, w, 2] lie in the source, [*, h, w, 2]."""
        z = torch.view_as_complex(places)
        return torch.view_as_real(self.turn[..., None, None] * z + self.shift[..., None, None])

    def of_own(self, points: Tensor) -> Tensor:
        """Where each transform's own points [*, N, 2] lie in the source."""
        z = torch.view_as_complex(points.contiguous())
        return torch.view_as_real(self.turn[..., None] * z + self.shift[..., None])


def similarity(driving: Tensor, source: Tensor, seen: Tensor, whole: Similarity | None = None) -> Similarity:
    """The turn, scale and shift that take the seen of driving [*, N, 2] to source with the least squared error; in heights.

    A regression in complex numbers. A prior of weight SHORT^2 holds the turn at that of `whole` (1 without it); without any seen point it
    is the whole's transform.
    """
    a, b = torch.view_as_complex(driving.contiguous()), torch.view_as_complex(source.contiguous())
    count = seen.sum(-1)
    weight = seen / count.clamp(min=1)[..., None]
    a, b = torch.where(seen, a, 0), torch.where(seen, b, 0)  # what is not seen may lie anywhere, even nowhere
    middle_a, middle_b = (weight * a).sum(-1), (weight * b).sum(-1)
    from_a, from_b = a - middle_a[..., None], b - middle_b[..., None]
    prior = torch.ones_like(middle_a) if whole is None else whole.turn
    spread = (weight * from_a.abs().square()).sum(-1)
    turn = ((weight * from_a.conj() * from_b).sum(-1) + SHORT**2 * prior) / (spread + SHORT**2)
    size = turn.abs()
    turn = turn * (size.clamp(1 / LARGEST_SCALE, LARGEST_SCALE) / size.clamp(min=1e-6))
    turn = torch.where(size > 1e-6, turn, prior)
    none = count == 0
    still = torch.zeros_like(middle_a) if whole is None else whole.shift
    return Similarity(torch.where(none, prior, turn), torch.where(none, still, middle_b - turn * middle_a))


def splines(
    driving: Tensor, shown: Tensor, sources: Tensor, seen: Tensor, places: Tensor, start: Similarity, smoothing: tuple[float, ...]
) -> tuple[Tensor, Tensor]:
    """Where places [h, w, 2] lie in S sources [B, S, N, 2] of one driving frame [B, N, 2] by thin-plate splines; in heights.

    A spline (radial basis r^2 log r, the smoothing on the diagonal) is fitted to what the similarity `start` [B, S] leaves over, at the
    points that a source shares with the driving frame (seen [B, S, N]). Where these make none (few, or on a line) the similarity alone
    stays. Returns [B, S, L, h, w, 2] for L smoothings, and the distance from each place to the nearest point that the driving frame
    shows (shown [B, N]), [B, h, w].
    """
    driving = torch.where(shown[..., None], driving, 0)
    left = torch.where(seen[..., None], sources - start.of_own(driving[:, None].expand_as(sources)), 0)
    weights = _bending(driving, left, seen, smoothing).flatten(1, 3)  # [B, S L 2, N + 3]
    flat = places.flatten(0, 1)
    squared = _squared_distances(driving, shown, flat)
    nearest = squared.amin(1).sqrt().unflatten(1, places.shape[:2])
    plane = torch.cat([torch.ones_like(flat[:, :1]), flat], 1)
    bent = weights[..., :-3] @ _basis_in_place(squared) + weights[..., -3:] @ plane.mT  # what is not seen has the weight 0
    bent = bent.view(*left.shape[:2], len(smoothing), 2, *places.shape[:2]).movedim(3, -1)
    return start.at(places)[:, :, None] + bent, nearest


def _squared_distances(points: Tensor, shown: Tensor, places: Tensor) -> Tensor:
    """From each point [B, N, 2] to each place [n, 2], as one product: [B, N, n]; far away where a point is not shown."""
    size = points.square().sum(-1, keepdim=True) + torch.where(shown, 0.0, FAR**2)[..., None]
    points = torch.cat([-2 * points, size, torch.ones_like(size)], -1)
    places = torch.cat([places, torch.ones_like(places[:, :1]), places.square().sum(-1, keepdim=True)], -1)
    return (points @ places.mT).clamp_(min=1e-12)


def _basis_in_place(squared: Tensor) -> Tensor:
    """r^2 log r of squared distances, which are overwritten: a fifth of the time that new memory would cost."""
    return squared.mul_(squared.log().mul_(0.5))


def _bending(driving: Tensor, left: Tensor, seen: Tensor, smoothing: tuple[float, ...]) -> Tensor:
    """Coefficients of L splines with the values `left` [B, S, N, 2] at the points [B, N, 2], for x and for y: [B, S, L, 2, N + 3].

    N of the basis, then of 1, x and y.
    """
    count, size, device = seen.sum(-1), driving.shape[1], driving.device
    whole = (count >= MIN_POINTS) & (_narrow_spread(driving[:, None], seen / count.clamp(min=1)[..., None]) > NARROW)
    kernel = _basis_in_place((driving[:, :, None] - driving[:, None]).square().sum(-1).clamp_(min=1e-12))
    kernel = torch.where(seen[..., :, None] & seen[..., None, :], kernel[:, None], 0)
    plane = torch.cat([torch.ones_like(driving[..., :1]), driving], -1)[:, None] * seen[..., None]
    system = left.new_zeros(*left.shape[:2], len(smoothing), size + 3, size + 3)
    system[..., :size, :size] = kernel[:, :, None]
    system[..., :size, size:] = plane[:, :, None]
    system[..., size:, :size] = plane.mT[:, :, None]
    amounts = torch.tensor(smoothing, device=device)
    system.diagonal(dim1=-2, dim2=-1)[..., :size] += torch.where(seen[:, :, None], amounts[:, None], 1.0)
    chosen = whole[..., None, None, None]
    system = torch.where(chosen, system, torch.eye(size + 3, device=device))
    right = torch.where(whole[..., None, None], F.pad(left, (0, 0, 0, 3)), 0)
    solved: Tensor = torch.linalg.solve_ex(system, right[:, :, None].expand(-1, -1, len(smoothing), -1, -1))[0]
    return solved.mT


def _narrow_spread(points: Tensor, weight: Tensor) -> Tensor:
    """Standard deviation of points [*, N, 2] across their main direction, [*]."""
    middle = (weight[..., None] * points).sum(-2, keepdim=True)
    off = points - middle
    xx, yy, xy = ((weight * one * other).sum(-1) for one, other in ((off[..., 0],) * 2, (off[..., 1],) * 2, (off[..., 0], off[..., 1])))
    smaller = (xx + yy) / 2 - ((xx - yy).square() / 4 + xy.square()).clamp(min=0).sqrt()
    return smaller.clamp(min=0).sqrt()


def _face(
    driving: Tensor, shown: Tensor, sources: Tensor, seen: Tensor, grid: Tensor, smoothing: tuple[float, ...]
) -> tuple[Tensor, Tensor]:
    turned = similarity(driving[:, None].expand_as(sources), sources, seen)
    bent, away = splines(driving, shown, sources, seen, grid, turned, smoothing)
    flows = torch.cat([torch.zeros_like(bent[:, :, :1]), turned.at(grid)[:, :, None] - grid, bent - grid], 2)
    likely = torch.exp(-(away / 0.1).square())  # a spline holds at the landmarks, the similarity some way around them
    around = torch.exp(-(away / 0.3).square())
    prior = torch.stack([1 - 2 * around, around, 3 * likely, *[around] * (len(smoothing) - 1)], 1)
    return flows, prior[:, None].expand(-1, sources.shape[1], -1, -1, -1)


def _body(driving: Tensor, shown: Tensor, sources: Tensor, seen: Tensor, grid: Tensor) -> tuple[Tensor, Tensor]:
    beside = driving[:, None].expand_as(sources)
    whole = similarity(beside, sources, seen)
    trunk = (driving[:, NECK] - driving[:, MID_HIP]).norm(dim=-1)
    trunk = torch.where(shown[:, NECK] & shown[:, MID_HIP], trunk, FALLBACK_TRUNK).clamp(min=0.03)
    moved, prior = [whole.at(grid) - grid], []
    for part in BODY_PARTS:
        points = list(part.points)
        moved.append(similarity(beside[:, :, points], sources[:, :, points], seen[:, :, points], whole).at(grid) - grid)
        prior.append(4 - 4 * (_away_from(driving, shown, part.bones, grid) / (part.width * trunk)[:, None, None]).square().clamp(max=3))
    still = torch.zeros_like(prior[0])
    priors = torch.stack([still, still - 2, *prior], 1)[:, None].expand(-1, sources.shape[1], -1, -1, -1)
    return torch.stack([torch.zeros_like(moved[0]), *moved], 2), priors


def _away_from(points: Tensor, shown: Tensor, bones: tuple[tuple[int, int], ...], grid: Tensor) -> Tensor:
    """Distance from each place [h, w, 2] to the nearest bone whose ends are both shown, [B, h, w]; `FAR` without such a bone."""
    nearest = torch.full((len(points), *grid.shape[:2]), FAR, device=grid.device)
    for start, end in bones:
        origin, along = points[:, start, None, None], (points[:, end] - points[:, start])[:, None, None]
        share = ((grid - origin) * along).sum(-1) / along.square().sum(-1).clamp(min=1e-9)
        away = (grid - origin - share.clamp(0, 1)[..., None] * along).norm(dim=-1)
        nearest = torch.minimum(nearest, torch.where((shown[:, start] & shown[:, end])[:, None, None], away, FAR))
    return nearest


def _boxes(driving: Tensor, sources: Tensor, seen: Tensor, grid: Tensor) -> tuple[Tensor, Tensor]:
    """Instances, known by two opposite corners each: a shift and a scale along each axis. driving [B, 1, N, 2], sources [B, S, N, 2]."""
    flows = [torch.zeros_like(grid).expand(*sources.shape[:2], -1, -1, -1)]
    prior = [torch.zeros(grid.shape[:2], device=grid.device).expand(*sources.shape[:2], -1, -1)]
    for first in range(0, driving.shape[2], INSTANCE_POINTS):
        low, high = driving[..., first, :], driving[..., first + 1, :]
        there = seen[..., first : first + 2].all(-1) & ((high - low) > SHORT).all(-1)
        span = torch.where(there[..., None], high - low, 1.0)[..., None, None, :]
        starts, ends = sources[..., first, :][..., None, None, :], sources[..., first + 1, :][..., None, None, :]
        scale = ((ends - starts) / span).clamp(1 / LARGEST_SCALE, LARGEST_SCALE)
        off = grid - ((low + high) / 2)[..., None, None, :]
        flows.append(torch.where(there[..., None, None, None], (starts + ends) / 2 + off * scale - grid, 0))
        outside = (off.abs() / (span / 2)).amax(-1)
        prior.append(torch.where(there[..., None, None], torch.where(outside <= 1.05, 2.0, -4.0), -8.0))
    return torch.stack(flows, 2), torch.stack(prior, 2)
