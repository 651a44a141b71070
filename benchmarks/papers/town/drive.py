"""The data of a drive: the meshes of a town, the pose of each part in each frame, and the cameras."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .atlas import Atlas
from .labels import PAVEMENT, ROAD, TREE
from .meshes import Mesh
from .roads import Roads
from .sky import Weather

Array = NDArray[np.floating]


@dataclass(frozen=True)
class Camera:
    """A pinhole camera, whose optical axis meets the centre of the image. `focal` and `centre` are in pixels.

    eye [3]: position in metres. rotation [3, 3]: its rows are the directions right, down and ahead of the camera in the world.
    """

    eye: Array
    rotation: Array
    focal: float
    width: int
    height: int

    @property
    def centre(self) -> Array:
        return np.array([(self.width - 1) / 2, (self.height - 1) / 2])

    def project(self, points: Array) -> tuple[Array, Array]:
        """points [..., 3] in the world -> pixels [..., 2] (centres at integers), depth [...] along the axis."""
        seen = (points - self.eye) @ self.rotation.T
        return self.focal * seen[..., :2] / seen[..., 2:] + self.centre, seen[..., 2]

    def rays(self, x: Array, y: Array) -> Array:
        """Directions [N, 3] in the world through the pixels x, y [N]; their depth is 1."""
        right, down, ahead = self.rotation.astype(np.float32)
        across, low = ((axis - middle) / self.focal for axis, middle in zip((x, y), self.centre.tolist(), strict=True))
        return np.asarray(across[:, None] * right + low[:, None] * down + ahead, np.float32)


@dataclass(frozen=True)
class BlobShadow:
    """A dark spot on the ground below an object that blocks the light of the sky.

    The object is an upright box around (x, z) with the half sizes `half`, in metres, rotated by yaw (radians). strength in [0, 1].
    """

    x: float
    z: float
    yaw: float
    half: tuple[float, float]
    strength: float


@dataclass(frozen=True)
class Drive:
    """A drive of T frames. Lists over time have T + 2 entries: also one frame before the first and one after the last.

    grime [S, S, 3]: noise on the ground. poses [T + 2, P, 3, 4]: rigid motions of the P parts of the mesh; part 0 does not move.
    static_shadows: the blob shadows of all frames; moving_shadows: those of each frame. ground_labels: of road, pavement and lawn.
    """

    mesh: Mesh
    roads: Roads
    weather: Weather
    atlas: Atlas
    grime: Array
    poses: Array
    cameras: list[Camera]
    static_shadows: list[BlobShadow]
    moving_shadows: list[list[BlobShadow]]
    seed: tuple[int, ...]
    description: str
    ground_labels: tuple[int, int, int] = (ROAD, PAVEMENT, TREE)

    def motions(self, time: int) -> Array:
        """The rigid motions of the parts in frame `time`, [P, 3, 4]. Times begin at 0; -1 and T are allowed."""
        return np.asarray(self.poses[time + 1])

    def camera(self, time: int) -> Camera:
        return self.cameras[time + 1]

    def blob_shadows(self, time: int) -> list[BlobShadow]:
        """The blob shadows near the camera in frame `time`."""
        eye = self.camera(time).eye
        return [
            shadow
            for shadow in (*self.static_shadows, *self.moving_shadows[time + 1])
            if np.hypot(shadow.x - eye[0], shadow.z - eye[2]) < 40
        ]

    def sensor_noise(self, time: int, shape: tuple[int, ...]) -> Array:
        """Noise of the sensor in frame `time`, with mean 0 and standard deviation 1."""
        return np.random.default_rng([*self.seed, time]).standard_normal(shape, dtype=np.float32)

    def bounds(self) -> tuple[Array, Array]:
        """Low and high corner [3] of the box in which shadows may be visible."""
        eyes = np.stack([camera.eye for camera in self.cameras])
        low, high = eyes.min(0) - [45, 0, 30], eyes.max(0) + [45, 0, 75]
        low[1], high[1] = -0.2, 24.0
        return low, high
