"""What was seen at one moment, and the exact motion between two."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .drive import Camera

Array = NDArray[np.floating]
Index = NDArray[np.int64]

SKY, GROUND = -1, -2
"""What a ray meets, where that is no triangle."""
NEAREST = 0.25
"""Metres from which on surfaces are drawn."""


@dataclass(frozen=True)
class Sight:
    """One moment. frame uint8 [H, W, 3]; what the centre of each pixel shows: label, thing uint8 [H, W]; triangle int64 [H, W] (or SKY,
    GROUND); part [H, W]; inverse_depth float64 [H, W], 1 / depth, 0 of the sky."""

    camera: Camera
    motions: Array
    frame: NDArray[np.uint8]
    label: NDArray[np.uint8]
    thing: NDArray[np.uint8]
    triangle: Index
    part: Index
    inverse_depth: Array

    @property
    def depth(self) -> Array:
        """Metres along the axis of the camera, float32 [H, W]; 0 of the sky."""
        seen = self.inverse_depth > 0
        return np.where(seen, 1 / np.where(seen, self.inverse_depth, 1), 0).astype(np.float32)


@dataclass(frozen=True)
class Flow:
    """pixels [H, W, 2] (dx, dy) from a frame to another; visible [H, W]: where the surface is seen in the other frame, too."""

    pixels: NDArray[np.float32]
    visible: NDArray[np.bool_]


def flow_between(one: Sight, other: Sight) -> Flow:
    """Where the surface at each pixel of `one` is in `other`: exact, by the motion of its part and the two cameras.

    What would lie behind the other camera has flow 0 and is not visible.
    """
    height, width = one.label.shape
    y, x = (axis.ravel() for axis in np.mgrid[:height, :width].astype(np.float64))
    inverse_depth, part = one.inverse_depth.ravel(), one.part.ravel()
    rays = np.stack([(x - one.camera.centre[0]) / one.camera.focal, (y - one.camera.centre[1]) / one.camera.focal, np.ones_like(x)], -1)
    rays = rays @ one.camera.turn
    ways = np.stack([_way(one, other, number) for number in range(len(one.motions))])
    still = np.asarray(part == 0)
    seen = rays @ ways[0, :, :3].T + inverse_depth[:, None] * ways[0, :, 3]
    seen[~still] = np.einsum("nij,nj->ni", ways[part[~still]], np.concatenate([rays, inverse_depth[:, None]], 1)[~still])
    ahead = seen[:, 2] > NEAREST * inverse_depth
    there = other.camera.focal * seen[:, :2] / np.where(ahead, seen[:, 2], 1)[:, None] + other.camera.centre
    there[~ahead] = np.stack([x, y], -1)[~ahead]
    arriving = inverse_depth / np.where(ahead, seen[:, 2], 1)
    visible = ahead & _seen(one, other, there, arriving)
    pixels = there - np.stack([x, y], -1)
    return Flow(pixels.reshape(height, width, 2).astype(np.float32), visible.reshape(height, width))


def _way(one: Sight, other: Sight, part: int) -> Array:
    """[3, 4]: the place, times the inverse depth, of a point before the other camera, from its ray and inverse depth in `one`."""
    before, after = one.motions[part], other.motions[part]
    turn = after[:, :3] @ before[:, :3].T
    shift = turn @ (one.camera.eye - before[:, 3]) + after[:, 3] - other.camera.eye
    return other.camera.turn @ np.concatenate([turn, shift[:, None]], 1)


def _seen(one: Sight, other: Sight, there: Array, arriving: Array) -> NDArray[np.bool_]:
    """Which pixels of `one` are seen at the places [N, 2] of `other`, where they arrive with a inverse_depth [N].

    The pixel there has the same label and instance, and is of the same triangle or as near as what arrives.
    """
    height, width = other.label.shape
    inside = np.all((there > -0.5) & (there < np.array([width, height]) - 0.5), axis=1)
    place = there * inside[:, None]
    x, y = (np.clip(np.rint(place[:, axis]), 0, size - 1).astype(np.int64) for axis, size in ((0, width), (1, height)))
    alike = (other.label[y, x] == one.label.ravel()) & (other.thing[y, x] == one.thing.ravel())
    same = (other.triangle[y, x] == one.triangle.ravel()) & (one.triangle.ravel() >= 0)
    left, top = (np.clip(np.floor(place[:, axis]), 0, max(size - 2, 0)).astype(np.int64) for axis, size in ((0, width), (1, height)))
    right, low = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    across, down = place[:, 0] - left, place[:, 1] - top
    inverse_depth = other.inverse_depth
    upper = inverse_depth[top, left] * (1 - across) + inverse_depth[top, right] * across
    lower = inverse_depth[low, left] * (1 - across) + inverse_depth[low, right] * across
    found = upper * (1 - down) + lower * down
    return inside & alike & (same | (np.abs(found - arriving) < 0.01 * arriving + 1e-5))
