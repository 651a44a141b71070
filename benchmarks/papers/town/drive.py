"""A drive as data: what is in a town, where each part of it is at each moment, and the camera."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .labels import PAVEMENT, ROAD, TREE
from .meshes import Mesh
from .roads import Roads
from .sky import Weather
from .tiles import Atlas

Array = NDArray[np.floating]


@dataclass(frozen=True)
class Camera:
    """eye [3] in metres; turn [3, 3]: rows are right, down and ahead; focal in pixels. The axis meets the middle of the picture."""

    eye: Array
    turn: Array
    focal: float
    width: int
    height: int

    @property
    def centre(self) -> Array:
        return np.array([(self.width - 1) / 2, (self.height - 1) / 2])

    def project(self, points: Array) -> tuple[Array, Array]:
        """points [..., 3] in the world -> pixels [..., 2] (centres at integers), depth [...] along the axis."""
        seen = (points - self.eye) @ self.turn.T
        return self.focal * seen[..., :2] / seen[..., 2:] + self.centre, seen[..., 2]

    def rays(self, x: Array, y: Array) -> Array:
        """Directions [N, 3] in the world through pixels, of depth 1."""
        right, down, ahead = self.turn.astype(np.float32)
        across, low = ((axis - middle) / self.focal for axis, middle in zip((x, y), self.centre.tolist(), strict=True))
        return np.asarray(across[:, None] * right + low[:, None] * down + ahead, np.float32)


@dataclass(frozen=True)
class Blot:
    """Where something keeps the light of the sky from the ground: an upright box around (x, z), turned by yaw, in metres."""

    x: float
    z: float
    yaw: float
    half: tuple[float, float]
    strength: float


@dataclass(frozen=True)
class Drive:
    """T frames, and one before and after. Part 0 of the mesh stands still.

    grime [S, S, 3]: noise over the ground. poses [T + 2, P, 3, 4]: where each part is; cameras [T + 2]. passing [T + 2]: what darkens
    the ground for a moment, `standing` always. ground_labels: the labels of road, pavement and lawn.
    """

    mesh: Mesh
    roads: Roads
    weather: Weather
    atlas: Atlas
    grime: Array
    poses: Array
    cameras: list[Camera]
    standing: list[Blot]
    passing: list[list[Blot]]
    seed: tuple[int, ...]
    words: str
    ground_labels: tuple[int, int, int] = (ROAD, PAVEMENT, TREE)

    def motions(self, time: int) -> Array:
        """Where each part is in frame `time`, [P, 3, 4]."""
        return np.asarray(self.poses[time + 1])

    def camera(self, time: int) -> Camera:
        return self.cameras[time + 1]

    def blots(self, time: int) -> list[Blot]:
        """Those near the camera."""
        eye = self.camera(time).eye
        return [blot for blot in (*self.standing, *self.passing[time + 1]) if np.hypot(blot.x - eye[0], blot.z - eye[2]) < 40]

    def grain(self, time: int, shape: tuple[int, ...]) -> Array:
        """The noise of the sensor in one frame, about 0 with deviation 1."""
        return np.random.default_rng([*self.seed, time]).standard_normal(shape, dtype=np.float32)

    def bounds(self) -> tuple[Array, Array]:
        """The box whose shadows may be seen."""
        eyes = np.stack([camera.eye for camera in self.cameras])
        low, high = eyes.min(0) - [45, 0, 30], eyes.max(0) + [45, 0, 75]
        low[1], high[1] = -0.2, 24.0
        return low, high
