"""A rendered frame with its ground truth, and the exact flow between two such frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .drive import Camera

Array = NDArray[np.floating]
Index = NDArray[np.int64]

SKY, GROUND = -1, -2
"""Values of `Snapshot.triangle` where a ray meets no triangle."""
NEAREST = 0.25
"""Surfaces that are nearer than this to the camera, in metres, are not drawn."""


@dataclass(frozen=True)
class Snapshot:
    """A rendered frame, uint8 [H, W, 3], with the truth at the centre of each pixel.

    label, instance uint8 [H, W]; triangle int64 [H, W], or SKY or GROUND; part [H, W]; inverse_depth float64 [H, W] in 1/m, 0 in the sky.
    motions [P, 3, 4]: the rigid motions of the parts.
    """

    camera: Camera
    motions: Array
    frame: NDArray[np.uint8]
    label: NDArray[np.uint8]
    instance: NDArray[np.uint8]
    triangle: Index
    part: Index
    inverse_depth: Array

    @property
    def depth(self) -> Array:
        """Metres along the axis of the camera, float32 [H, W]; 0 in the sky."""
        seen = self.inverse_depth > 0
        return np.where(seen, 1 / np.where(seen, self.inverse_depth, 1), 0).astype(np.float32)


@dataclass(frozen=True)
class Flow:
    """pixels [H, W, 2] (dx, dy) from one frame to another; visible [H, W]: whether the surface is also visible in the other frame."""

    pixels: NDArray[np.float32]
    visible: NDArray[np.bool_]


def flow_between(one: Snapshot, other: Snapshot) -> Flow:
    """The flow from `one` to `other`, computed exactly from the motions of the parts and of the camera.

    A surface that is behind the other camera has flow 0 and is not visible.
    """
    height, width = one.label.shape
    y, x = (axis.ravel() for axis in np.mgrid[:height, :width].astype(np.float64))
    inverse_depth, part = one.inverse_depth.ravel(), one.part.ravel()
    rays = np.stack([(x - one.camera.centre[0]) / one.camera.focal, (y - one.camera.centre[1]) / one.camera.focal, np.ones_like(x)], -1)
    rays = rays @ one.camera.rotation
    projections = np.stack([_projection(one, other, number) for number in range(len(one.motions))])
    still = np.asarray(part == 0)
    seen = rays @ projections[0, :, :3].T + inverse_depth[:, None] * projections[0, :, 3]
    seen[~still] = np.einsum("nij,nj->ni", projections[part[~still]], np.concatenate([rays, inverse_depth[:, None]], 1)[~still])
    ahead = seen[:, 2] > NEAREST * inverse_depth
    there = other.camera.focal * seen[:, :2] / np.where(ahead, seen[:, 2], 1)[:, None] + other.camera.centre
    there[~ahead] = np.stack([x, y], -1)[~ahead]
    inverse_depth_there = inverse_depth / np.where(ahead, seen[:, 2], 1)
    visible = ahead & _seen(one, other, there, inverse_depth_there)
    pixels = there - np.stack([x, y], -1)
    return Flow(pixels.reshape(height, width, 2).astype(np.float32), visible.reshape(height, width))


def _projection(one: Snapshot, other: Snapshot, part: int) -> Array:
    """The matrix [3, 4] from (ray, inverse depth) of a point in `one` to its position in the other camera, times the same inverse depth."""
    before, after = one.motions[part], other.motions[part]
    rotation = after[:, :3] @ before[:, :3].T
    shift = rotation @ (one.camera.eye - before[:, 3]) + after[:, 3] - other.camera.eye
    return other.camera.rotation @ np.concatenate([rotation, shift[:, None]], 1)


def _seen(one: Snapshot, other: Snapshot, there: Array, inverse_depth_there: Array) -> NDArray[np.bool_]:
    """Which pixels of `one` are visible in `other`. They lie there at the pixels `there` [N, 2], with the inverse depth [N].

    A pixel is visible if `other` shows the same label and instance there, and the same triangle or a surface at the same depth.
    """
    height, width = other.label.shape
    inside = np.all((there > -0.5) & (there < np.array([width, height]) - 0.5), axis=1)
    position = there * inside[:, None]
    x, y = (np.clip(np.rint(position[:, axis]), 0, size - 1).astype(np.int64) for axis, size in ((0, width), (1, height)))
    same_object = (other.label[y, x] == one.label.ravel()) & (other.instance[y, x] == one.instance.ravel())
    same_triangle = (other.triangle[y, x] == one.triangle.ravel()) & (one.triangle.ravel() >= 0)
    left, top = (np.clip(np.floor(position[:, axis]), 0, max(size - 2, 0)).astype(np.int64) for axis, size in ((0, width), (1, height)))
    right, low = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    across, down = position[:, 0] - left, position[:, 1] - top
    inverse_depth = other.inverse_depth
    upper = inverse_depth[top, left] * (1 - across) + inverse_depth[top, right] * across
    lower = inverse_depth[low, left] * (1 - across) + inverse_depth[low, right] * across
    interpolated = upper * (1 - down) + lower * down
    return inside & same_object & (same_triangle | (np.abs(interpolated - inverse_depth_there) < 0.01 * inverse_depth_there + 1e-5))
