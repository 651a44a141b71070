"""Camera, light and background of an actor. The background is ray cast once per clip from the boxes of a backdrop (backdrops.py)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np
from backdrops import Backdrop, Box, draw_backdrop
from numpy.typing import NDArray
from textures import Colour

Array = NDArray[np.floating]

MARGIN = 10
"""Pixels by which the background extends beyond the frame on each side, for cameras that pan."""
SAMPLES = 2
"""Samples per pixel in each direction, for the actor and the background. Frames are made from them by averaging."""


@dataclass(frozen=True)
class Camera:
    """A camera that looks towards -z from `eye` (metres), tilted down by `tilt` degrees.

    focal: focal length in pixels; centre: the principal point in pixels; height, width: size of the image in pixels.
    """

    eye: Array
    tilt: float
    focal: float
    centre: Array
    height: int
    width: int

    def project(self, points: NDArray[np.floating]) -> tuple[Array, Array]:
        """points [..., 3] -> pixels [..., 2] (integers are pixel centres) and depth [...] in metres."""
        relative = (np.asarray(points, np.float32) - self.eye) @ self._rotation().T
        depth = -relative[..., 2]
        pixels = np.stack([relative[..., 0], -relative[..., 1]], -1) * (self.focal / depth)[..., None]
        return (pixels + self.centre).astype(np.float32), depth.astype(np.float32)

    def rays(self, x: Array, y: Array) -> Array:
        """Directions [..., 3] of the rays through pixels, with length 1 along the optical axis."""
        directions = np.stack([(x - self.centre[0]) / self.focal, -(y - self.centre[1]) / self.focal, -np.ones_like(x)], -1)
        return (directions @ self._rotation()).astype(np.float32)

    def _rotation(self) -> Array:
        cosine, sine = np.cos(np.radians(self.tilt)), np.sin(np.radians(self.tilt))
        return np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]], np.float32)


@dataclass(frozen=True)
class Light:
    """A distant lamp, ambient light, and settings of the sensor.

    direction [3]: unit vector to the lamp. colour: its light; above, bounce: ambient light from above and from the floor (all linear RGB).
    exposure: factor of linear values. blur: standard deviation in pixels. noise_level: standard deviation, for values in [0, 1].
    """

    direction: Array
    colour: Colour
    above: Colour
    bounce: Colour
    exposure: float
    blur: float
    noise_level: float


class Scene:
    """The background, ray cast once. In each frame it receives the actor's shadow, and the camera pans over it."""

    def __init__(self, camera: Camera, light: Light, backdrop: Backdrop, pan: Array) -> None:
        """pan [T + 1, 2]: shift (x, y) of the image in each of T frames, and in one more for the flow from the last; in pixels."""
        self.camera, self.light, self.pan, self.description = camera, light, pan, backdrop.description
        self.albedo = _cast_rays(camera, backdrop, SAMPLES).albedo
        coarse = _cast_rays(camera, backdrop, 1)  # for the light, which varies slowly
        self.positions, self.hit = coarse.positions, coarse.hit
        facing = np.clip(coarse.normals @ light.direction, 0, 1)[..., None]
        upward = 0.5 + 0.5 * coarse.normals[..., 1:2]  # 1 for surfaces that face up, 0 for those that face down
        hit = coarse.hit[..., None]  # the sky is not lit, but has its own brightness
        self.direct = np.where(hit, light.colour * facing, 0).astype(np.float32)
        self.ambient = np.where(hit, light.above * upward + light.bounce * (1 - upward), 1).astype(np.float32)

    def camera_at(self, time: int) -> Camera:
        return replace(self.camera, centre=(self.camera.centre + self.pan[time]).astype(np.float32))

    def image_at(self, time: int, lit: Callable[[Array], Array]) -> Array:
        """The background of frame `time`, linear RGB [SAMPLES H, SAMPLES W, 3].

        lit: points [N, 3] -> 1 in the lamp's light, 0 in the actor's shadow.
        """
        visibility: Array = np.ones(self.hit.shape, np.float32)
        visibility[self.hit] = lit(self.positions[self.hit])
        visibility = np.asarray(cv2.GaussianBlur(visibility, (0, 0), 1.4), np.float32)
        occlusion = 0.5 + 0.5 * cv2.GaussianBlur(visibility, (0, 0), 4)  # factor of the ambient light, smaller near the actor's shadow
        light = cv2.resize(self.direct * visibility[..., None] + self.ambient * occlusion[..., None], self.albedo.shape[1::-1])
        x, y = (MARGIN - self.pan[time]) * SAMPLES
        shift = np.array([[1, 0, -x], [0, 1, -y]], np.float32)
        size = (self.camera.width * SAMPLES, self.camera.height * SAMPLES)
        panned = cv2.warpAffine(self.albedo * light, shift, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(panned, np.float32)


@dataclass(frozen=True)
class _Hits:
    """What rays hit: albedo (linear RGB), positions and normals [h, w, 3]; hit [h, w]: False for rays that hit only the sky."""

    albedo: Array
    positions: Array
    normals: Array
    hit: NDArray[np.bool_]


def _cast_rays(camera: Camera, backdrop: Backdrop, samples: int) -> _Hits:
    """Cast a grid of rays, `samples` per pixel in each direction, through the frame and MARGIN pixels around it."""
    y, x = (
        (np.arange((side + 2 * MARGIN) * samples, dtype=np.float32) + 0.5) / samples - 0.5 - MARGIN
        for side in (camera.height, camera.width)
    )
    across, down = np.meshgrid(x, y)
    rays = camera.rays(across, down)
    albedo = backdrop.sky(rays)
    distance = np.full(rays.shape[:2], np.inf, np.float32)
    normals = np.zeros_like(rays)
    for box in backdrop.boxes:
        _cast_box(camera.eye, rays, box, distance, normals, albedo)
    hit = np.isfinite(distance)
    positions = camera.eye + rays * np.where(hit, distance, 1)[..., None]
    return _Hits(albedo.astype(np.float32) ** 2.2, positions.astype(np.float32), normals, hit)


def _cast_box(eye: Array, rays: Array, box: Box, distance: Array, normals: Array, albedo: Array) -> None:
    """Update distance, normals and albedo where the box is nearer than all earlier boxes (slab method)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        at_low, at_high = (box.low - eye) / rays, (box.high - eye) / rays
    enters, leaves = np.minimum(at_low, at_high), np.maximum(at_low, at_high)
    first, last = enters.max(-1), leaves.min(-1)
    hit = (first < last) & (first > 0) & (first < distance)
    axis = enters.argmax(-1)[hit]
    distance[hit] = first[hit]
    normal = np.zeros((len(axis), 3), np.float32)
    normal[np.arange(len(axis)), axis] = -np.sign(rays[hit][np.arange(len(axis)), axis])
    normals[hit] = normal
    point = eye + rays[hit] * first[hit][:, None]
    across = np.where(axis == 0, point[:, 2], point[:, 0]) - box.low[0]
    down = np.where(axis == 1, point[:, 2], -point[:, 1])
    albedo[hit] = box.colours(across, down)


def draw_scene(rng: np.random.Generator, points: NDArray[np.float64], height: int, width: int) -> Scene:
    """A random scene for an actor. points [T, 25, 3]: the keypoints in metres, in world coordinates."""
    backdrop = draw_backdrop(rng)
    camera = _frame_camera(rng, points, height, width)
    pan = np.zeros((len(points) + 1, 2), np.float32)
    if rng.random() < 0.25:
        time = np.linspace(0, rng.uniform(1, 3), len(pan))
        pan[:, 0] = rng.uniform(0.01, 0.035) * width * np.sin(time + rng.uniform(0, 6))
        pan[:, 1] = rng.uniform(0, 0.008) * height * np.sin(1.3 * time + rng.uniform(0, 6))
    return Scene(camera, _light(rng, backdrop.outdoors), backdrop, np.clip(pan, -MARGIN + 1, MARGIN - 1))


def _frame_camera(rng: np.random.Generator, points: NDArray[np.float64], height: int, width: int) -> Camera:
    """A camera that shows the body with some margin; hands may be outside the image."""
    eye = np.array([rng.normal(0, 0.15), rng.uniform(0.8, 1.7), rng.uniform(3.2, 6.0)], np.float32)
    camera = Camera(eye, float(rng.normal(2 * (eye[1] - 1), 1.5)), 1000.0, np.zeros(2, np.float32), height, width)
    pixels, depth = camera.project(points.reshape(-1, 3))
    margin = 0.14 / depth[:, None] * 1000  # 14 cm in pixels
    low, high = (pixels - margin * (0.6, 1)).min(0), (pixels + margin * (0.6, 0.6)).max(0)
    fits = np.array([width, height]) / (high - low)
    min_zoom = 0.8 * fits[1] if rng.random() < 0.5 else 0.0  # not reduced further for wide arms: hands may be outside
    zoom = float(rng.uniform(0.84, 0.99) * min(fits[1], max(fits[0], min_zoom)))
    spare = np.array([width, height]) - zoom * (high - low)
    centre = np.array([width, height]) / 2 - zoom * (low + high) / 2 + spare * rng.uniform(-0.3, 0.3, 2)
    return replace(camera, focal=1000 * zoom, centre=centre.astype(np.float32))


def _light(rng: np.random.Generator, outdoors: bool) -> Light:
    azimuth, elevation = np.radians(rng.uniform(-75, 75)), np.radians(rng.uniform(28, 68))
    direction = np.array([np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)], np.float32)
    warm = rng.normal(0, 0.07)
    tint = np.array([1 + warm, 1, 1 - 1.3 * warm], np.float32)
    strength = float(rng.uniform(0.5, 1.5)) * (1.3 if outdoors else 1.0)
    cold = np.array([0.92, 0.98, 1.08], np.float32) if outdoors else tint
    above = float(rng.uniform(0.45, 0.8)) * cold
    return Light(
        direction=direction,
        colour=strength * tint,
        above=above.astype(np.float32),
        bounce=(0.55 * above * rng.uniform(0.8, 1.1, 3)).astype(np.float32),
        exposure=float(rng.uniform(0.75, 1.15) * 1.35 / (0.6 + strength)),
        blur=float(rng.choice([0, 0, 0, 0.4, 0.6])),
        noise_level=float(rng.uniform(0.002, 0.014)),
    )
