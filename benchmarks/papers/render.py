"""Renders a posed actor in a scene. Label map and exact flow come from the z-buffer of the frame."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from appearance import LABELS, Actor
from numpy.typing import NDArray
from raster import Fragments, rasterise
from scenes import SAMPLES, Camera, Light, Scene
from textures import SIDE

Array = NDArray[np.floating]

_SHADOW_CELL, _SHADOW_SIDE, _SHADOW_BIAS = 0.024, 176, 0.05
"""Cell of the shadow map in metres; side of the map in cells; distance behind a lit surface, in metres, at which shadow begins."""


@dataclass(frozen=True)
class RenderedFrame:
    """frame uint8 [H, W, 3], labels uint8 [H, W]; flow [H, W, 2] to the next frame; inverse_depth [H, W] in 1/m, 0 in the background."""

    frame: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    flow: Array
    inverse_depth: Array
    next_inverse_depth: Array
    """Inverse depth of the same surface in the next frame."""


class Renderer:
    """Renders one actor in one scene."""

    def __init__(self, actor: Actor, scene: Scene) -> None:
        mesh = actor.mesh
        self.actor, self.scene = actor, scene
        self.rest = np.concatenate([mesh.vertices, np.ones((len(mesh.vertices), 1))], 1).astype(np.float32)
        self.normals = mesh.normals.astype(np.float32)
        self.weights = mesh.weights.astype(np.float32)
        self.faces, self.texture = mesh.faces, mesh.texture.astype(np.float32)
        palette = actor.palette
        self.tiles = np.concatenate([material.tile for material in palette]).astype(np.float32)
        blank = np.zeros((SIDE, SIDE, 4), np.float32)
        self.decals = np.concatenate([blank if material.decal is None else material.decal for material in palette]).astype(np.float32)
        self.decal_squares = np.array([material.decal_square for material in palette], np.float32)
        self.sizes = np.array([material.size for material in palette], np.float32)
        self.gloss = np.array([material.gloss for material in palette], np.float32)
        self.skin = np.array([material.skin for material in palette], np.float32)

    def pose(self, world: NDArray[np.float64]) -> tuple[Array, Array]:
        """World vertices and normals [V, 3] for the skinning matrices [bones, 3, 4] of one frame."""
        blended = (self.weights @ world.reshape(len(world), 12).astype(np.float32)).reshape(-1, 3, 4)
        vertices = np.einsum("vij,vj->vi", blended, self.rest)
        normals = np.einsum("vij,vj->vi", blended[..., :3], self.normals)
        return vertices, _unit(normals)

    def render(
        self, world: NDArray[np.float64], following: NDArray[np.float64], time: int, noise_rng: np.random.Generator
    ) -> RenderedFrame:
        """Frame `time` with the skinning matrices `world`.

        following: those of the next frame. noise_rng: random numbers of the sensor noise.
        """
        camera, following_camera = self.scene.camera_at(time), self.scene.camera_at(time + 1)
        vertices, normals = self.pose(world)
        position, depth = camera.project(vertices)
        next_position, next_depth = following_camera.project(self.pose(following)[0])
        height, width = camera.height, camera.width
        fragments = rasterise((position + 0.5) * SAMPLES - 0.5, depth, self.faces, height * SAMPLES, width * SAMPLES)
        near, next_near = 1 / depth, 1 / next_depth
        displacement = np.column_stack([next_position - position, near, next_near])
        # columns: 0 to 2 normal, 3 to 5 position, 6 to 8 position at rest, 9 z of the normal at rest, 10 and 11 displacement in pixels,
        # 12 and 13 inverse depth in this frame and in the next
        values = fragments.values(
            np.column_stack([normals, vertices, self.rest[:, :3], self.normals[:, 2:], displacement]).astype(np.float32), self.faces
        )
        shadows = ShadowMap(self.scene.light, vertices)
        linear = self._shade(fragments, values, camera, shadows)
        ground = self.scene.image_at(time, shadows.lit)
        frame = self._expose(fragments, linear, values[:, 12], ground, noise_rng)
        labels, choice = _majority_labels(fragments, self.actor.labels)
        shift = following_camera.centre - camera.centre
        motion = _average(fragments, values[:, 10:14], choice, np.array([*shift, 0, 0], np.float32))
        return RenderedFrame(frame, labels, motion[..., :2], motion[..., 2], motion[..., 3])

    def _albedo(self, fragments: Fragments, values: Array) -> Array:
        """Albedo [N, 3] of the surfaces, linear RGB: tile and decal."""
        material = self.actor.materials[fragments.faces]
        texture = fragments.corner_values(self.texture) / self.sizes[material][:, None]
        colour = _look_up(self.tiles, texture - np.floor(texture), material)
        left, top, side = self.decal_squares[material].T
        decal_at = np.stack([(values[:, 6] - left) / side, (top - values[:, 7]) / side], -1)
        decal = _look_up(self.decals, np.clip(decal_at, 0, 1), material)
        shown = decal[:, 3] * ((values[:, 9] > 0.12) & (decal_at > 0).all(1) & (decal_at < 1).all(1))
        return (colour + (decal[:, :3] - colour) * shown[:, None]) ** 2.2

    def _shade(self, fragments: Fragments, values: Array, camera: Camera, shadows: ShadowMap) -> Array:
        """Linear RGB [N, 3] of the lit surfaces: a lamp with wrapped diffuse light and gloss, and ambient light with occlusion."""
        light, material = self.scene.light, self.actor.materials[fragments.faces]
        normal = _unit(values[:, :3])
        position = values[:, 3:6]
        fleshy, gloss = self.skin[material][:, None], self.gloss[material][:, None]
        lit = _blur(fragments, shadows.lit(position, normal), 1.2)[:, None]
        facing = (normal @ light.direction)[:, None]
        soft = 0.15 + 0.2 * fleshy * np.array([1.0, 0.45, 0.3], np.float32)
        diffuse = np.clip((facing + soft) / (1 + soft), 0, None) * lit
        sky = (0.5 + 0.5 * normal[:, 1:2]) ** 0.8
        ambient = light.above * sky + light.bounce * (1 - sky)
        half = _unit(_unit(camera.eye - position) + light.direction)
        shine = np.clip((normal * half).sum(1, keepdims=True), 0, 1) ** 24 * gloss * lit
        arriving = light.colour * diffuse + ambient * self._openness(fragments, values)[:, None]
        return self._albedo(fragments, values) * arriving + 0.35 * shine * light.colour

    def _openness(self, fragments: Fragments, values: Array) -> Array:
        """Share [N] of the ambient light: less where neighbouring pixels are nearer to the camera (screen-space ambient occlusion)."""
        depth, covered = _scatter(fragments, 1 / values[:, 12]), _scatter(fragments, np.ones(len(values), np.float32))
        dark = np.zeros_like(values[:, 12])
        for radius in (3, 9):
            mean = cv2.blur(depth, (2 * radius + 1,) * 2) / np.maximum(cv2.blur(covered, (2 * radius + 1,) * 2), 1e-4)
            behind = (depth - mean).ravel()[fragments.pixels]
            dark += np.clip((behind - 0.004) * 9, 0, 0.38)
        return 1 - dark

    def _expose(self, fragments: Fragments, linear: Array, near: Array, ground: Array, noise_rng: np.random.Generator) -> NDArray[np.uint8]:
        """The frame: the actor over the background [SAMPLES H, SAMPLES W, 3], reduced to pixels, exposed, with blur and noise."""
        whole = ground.reshape(-1, 3).copy()
        whole[fragments.pixels] = linear
        height, width = fragments.shape
        light = self.scene.light
        small = cv2.resize(whole.reshape(height, width, 3), (width // SAMPLES, height // SAMPLES), interpolation=cv2.INTER_AREA)
        if light.blur > 0:
            small = cv2.GaussianBlur(small, (0, 0), light.blur)
        exposed = np.clip(small * light.exposure, 0, None)
        toned = (exposed * (1 + exposed / 4) / (1 + exposed)) ** (1 / 2.2)
        toned = toned * 1.06 + noise_rng.standard_normal(toned.shape, dtype=np.float32) * light.noise_level
        return np.clip(toned * 255 + 0.5, 0, 255).astype(np.uint8)


class ShadowMap:
    """A shadow map: for each cell of a plane perpendicular to the light, how far the actor reaches towards the light."""

    def __init__(self, light: Light, vertices: Array) -> None:
        self.direction = light.direction
        side = np.cross(self.direction, [0.0, 1.0, 0.0]).astype(np.float32)
        side /= np.linalg.norm(side)
        self.axes = np.stack([side, np.cross(self.direction, side)], 1).astype(np.float32)
        self.middle = (vertices @ self.axes).mean(0)
        cells = self._cells(vertices).round().astype(np.int32).clip(1, _SHADOW_SIDE - 3)
        nearest = np.full(_SHADOW_SIDE**2, -1e3, np.float32)
        np.maximum.at(nearest, cells[:, 1] * _SHADOW_SIDE + cells[:, 0], vertices @ self.direction)
        self.nearest = cv2.dilate(nearest.reshape(_SHADOW_SIDE, _SHADOW_SIDE), np.ones((2, 2), np.uint8))

    def lit(self, points: Array, normals: Array | None = None) -> Array:
        """1 where the light reaches the points [N, 3], 0 in shadow; at edges between, interpolated from the four nearest cells."""
        raised = points if normals is None else points + 0.02 * normals
        cells, level = self._cells(raised), raised @ self.direction + _SHADOW_BIAS
        corner = np.floor(cells).astype(np.int32)
        share = cells - corner
        total = np.zeros(len(points), np.float32)
        for right, up in ((0, 0), (1, 0), (0, 1), (1, 1)):
            x, y = (corner[:, 0] + right).clip(0, _SHADOW_SIDE - 1), (corner[:, 1] + up).clip(0, _SHADOW_SIDE - 1)
            weight = np.abs(1 - right - share[:, 0]) * np.abs(1 - up - share[:, 1])
            total += weight * (self.nearest[y, x] <= level)
        return total

    def _cells(self, points: Array) -> Array:
        return (points @ self.axes - self.middle) / _SHADOW_CELL + _SHADOW_SIDE / 2


def _unit(vectors: Array) -> Array:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)


def _look_up(tiles: Array, uv: Array, material: np.ndarray) -> Array:
    """Bilinear samples [N, C] of stacked tiles [M SIDE, SIDE, C], at uv [N, 2] in [0, 1] of the tiles `material` [N]."""
    count, across = len(uv), 512
    padded = -(-count // across) * across
    x, y = np.zeros(padded, np.float32), np.zeros(padded, np.float32)
    x[:count] = uv[:, 0] * (SIDE - 1)
    y[:count] = uv[:, 1] * (SIDE - 1) + material * SIDE
    samples = cv2.remap(tiles, x.reshape(-1, across), y.reshape(-1, across), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(samples, np.float32).reshape(padded, -1)[:count]


def _scatter(fragments: Fragments, values: Array) -> Array:
    """An image [H, W] of values [N] at their pixels, 0 elsewhere."""
    plane = np.zeros(fragments.shape[0] * fragments.shape[1], np.float32)
    plane[fragments.pixels] = values
    return plane.reshape(fragments.shape)


def _blur(fragments: Fragments, values: Array, radius: float) -> Array:
    """Values [N], blurred within the actor's silhouette."""
    blurred, share = (cv2.GaussianBlur(_scatter(fragments, part), (0, 0), radius) for part in (values, np.ones_like(values)))
    return (blurred / np.maximum(share, 1e-4)).ravel()[fragments.pixels]


def _samples(plane: np.ndarray) -> np.ndarray:
    """The samples of each pixel: [SAMPLES H, SAMPLES W, ...] -> [H, W, SAMPLES SAMPLES, ...]."""
    height, width = plane.shape[0] // SAMPLES, plane.shape[1] // SAMPLES
    return (
        plane.reshape(height, SAMPLES, width, SAMPLES, *plane.shape[2:])
        .swapaxes(1, 2)
        .reshape(height, width, SAMPLES * SAMPLES, *plane.shape[2:])
    )


def _majority_labels(fragments: Fragments, labels: np.ndarray) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """The most frequent label of each pixel's samples, [H, W], and which samples have it, [H, W, SAMPLES SAMPLES]."""
    plane = np.zeros(fragments.shape[0] * fragments.shape[1], np.uint8)
    plane[fragments.pixels] = labels[fragments.faces]
    samples = _samples(plane.reshape(fragments.shape))
    votes = (samples[..., None] == samples[..., None, :]).sum(-1) * len(LABELS.names) + samples  # ties: the higher label
    chosen = np.take_along_axis(samples, votes.argmax(-1)[..., None], -1)
    return chosen[..., 0], samples == chosen


def _average(fragments: Fragments, values: Array, choice: NDArray[np.bool_], behind: Array) -> Array:
    """Means [H, W, C] of values [N, C] over the chosen samples of each pixel. behind [C]: the values of the background."""
    plane = np.broadcast_to(behind, (fragments.shape[0] * fragments.shape[1], values.shape[1])).copy()
    plane[fragments.pixels] = values
    samples = _samples(plane.reshape(*fragments.shape, -1))
    return np.asarray((samples * choice[..., None]).sum(2) / choice.sum(2, dtype=np.float32)[..., None])
