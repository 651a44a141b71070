"""The head as a rigid body under scaled orthographic projection: depths of its landmarks, poses, and displacements in its plane."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

Array = NDArray[np.float64]

AVERAGE_HEAD: Array = np.array(
    [
        (-1.11, 0.06, 0.88), (-1.09, 0.41, 0.95), (-1.06, 0.66, 0.94), (-1, 0.93, 0.87),
        (-0.92, 1.17, 0.75), (-0.76, 1.44, 0.51), (-0.56, 1.63, 0.32), (-0.28, 1.79, 0.12),
        (0, 1.84, 0.06), (0.28, 1.79, 0.12), (0.56, 1.63, 0.32), (0.76, 1.44, 0.51),
        (0.92, 1.17, 0.75), (1, 0.93, 0.87), (1.06, 0.66, 0.94), (1.09, 0.41, 0.95),
        (1.11, 0.06, 0.88), (-0.88, -0.23, 0.06), (-0.79, -0.31, -0.05), (-0.66, -0.35, -0.15),
        (-0.47, -0.34, -0.22), (-0.22, -0.29, -0.26), (0.22, -0.29, -0.26), (0.47, -0.34, -0.22),
        (0.66, -0.35, -0.15), (0.79, -0.31, -0.05), (0.88, -0.23, 0.06), (0, -0.05, -0.26),
        (0, 0.19, -0.41), (0, 0.39, -0.58), (0, 0.52, -0.62), (-0.26, 0.69, -0.21),
        (-0.13, 0.72, -0.31), (0, 0.73, -0.34), (0.13, 0.72, -0.31), (0.26, 0.69, -0.21),
        (-0.7, 0, 0.09), (-0.6, -0.06, -0.02), (-0.44, -0.06, -0.05), (-0.27, 0.02, 0),
        (-0.42, 0.05, -0.03), (-0.57, 0.05, 0), (0.27, 0.02, 0), (0.44, -0.06, -0.05),
        (0.6, -0.06, -0.02), (0.7, 0, 0.09), (0.57, 0.05, 0), (0.42, 0.05, -0.03),
        (-0.41, 1.09, 0), (-0.32, 1.02, -0.17), (-0.12, 0.95, -0.32), (0, 0.97, -0.33),
        (0.12, 0.95, -0.32), (0.32, 1.02, -0.17), (0.41, 1.09, 0), (0.32, 1.22, -0.11),
        (0.24, 1.28, -0.16), (0, 1.34, -0.21), (-0.24, 1.28, -0.16), (-0.32, 1.22, -0.11),
        (-0.37, 1.09, -0.03), (-0.19, 1.06, -0.19), (0, 1.06, -0.24), (0.19, 1.06, -0.19),
        (0.37, 1.09, -0.03), (0.19, 1.16, -0.15), (0, 1.18, -0.21), (-0.19, 1.16, -0.15),
    ]
)  # fmt: skip
"""Landmarks [68, 3]: x right, y down, z away from the camera, in eye distances; the origin is the middle between the eyes. Mean of
MediaPipe's mesh over 79 videos."""
RIGID = [0, 16, 27, 28, 29, 30, 33, 36, 39, 42, 45]
"""Landmarks that no muscle moves."""
MIN_FORESHORTENING = 0.5
"""Displacements in the plane of a turned head look shorter in the image, by a factor. `back_project` uses no smaller factor than this."""


@dataclass(frozen=True)
class Head:
    """A rigid head."""

    points: Array
    """[68, 3]: x, y and depth in pixels; those of `AVERAGE_HEAD` are in eye distances."""

    @classmethod
    def from_landmarks(cls, face: Array) -> Head:
        """The head of a face [68, 2], with the depths of the average head in the same pose."""
        average = cls(AVERAGE_HEAD)
        pose = average.poses(face[None])
        depth = (average._centred @ _rotations(pose)[0].T)[:, 2] * np.exp(pose[0, 0])
        return cls(np.column_stack([face, depth]))

    @property
    def _centre(self) -> Array:
        return np.asarray(self.points[RIGID].mean(0))

    @property
    def _centred(self) -> Array:
        return np.asarray(self.points - self._centre)

    def poses(self, faces: Array) -> Array:
        """Poses [T, 6] of this head that fit faces [T, 68, 2] best: logarithm of the scale, rotation vector, shift in pixels.

        The pose of the face that the head was made from is all zeros.
        """
        rigid = faces[:, RIGID]
        shift = rigid.mean(1) - self._centre[:2]
        affine = np.einsum("kn,tnc->tck", np.linalg.pinv(self._centred[RIGID]), rigid - rigid.mean(1, keepdims=True))
        left, scales, right = np.linalg.svd(affine, full_matrices=False)
        rows = left @ right  # the nearest two orthonormal rows, the first two of the rotation
        rotations = np.concatenate([rows, np.cross(rows[:, 0], rows[:, 1])[:, None]], 1)
        log_scale = np.log(np.maximum(scales.mean(1, keepdims=True), 1e-6))
        return np.concatenate([log_scale, Rotation.from_matrix(rotations).as_rotvec(), shift], 1)

    def posed_landmarks(self, poses: Array, displacements: Array) -> Array:
        """Landmarks [T, 68, 2] in the image, of the head in the poses [T, 6], with displacements [T, 68, 2] in its own plane."""
        shapes = self._centred + np.concatenate([displacements, np.zeros((*displacements.shape[:-1], 1))], -1)
        projected = np.einsum("tij,tnj->tni", _projections(poses), shapes)
        return np.asarray(projected + self._centre[:2] + poses[:, None, 4:])


def _rotations(poses: Array) -> Array:
    """Matrices [T, 3, 3]."""
    return np.asarray(Rotation.from_rotvec(poses[:, 1:4]).as_matrix())


def _projections(poses: Array) -> Array:
    """Matrices [T, 2, 3] that map displacements in space to displacements in the image."""
    return np.asarray(np.exp(poses[:, :1, None]) * _rotations(poses)[:, :2])


def project(displacements: Array, poses: Array) -> Array:
    """Displacements in the image [T, N, 2] of displacements [T, N, 2] in the plane of the head."""
    return np.asarray(np.einsum("tij,tnj->tni", _projections(poses)[:, :, :2], displacements))


def back_project(displacements: Array, poses: Array) -> Array:
    """The inverse of `project`: displacements in the plane of the head [T, N, 2] from those in the image.

    Along directions that are foreshortened to less than `MIN_FORESHORTENING`, they are smaller than the exact inverse.
    """
    left, scales, right = np.linalg.svd(_projections(poses)[:, :, :2])
    scales = np.maximum(scales, MIN_FORESHORTENING * np.exp(poses[:, :1]))
    return np.asarray(np.einsum("tji,tj,tkj,tnk->tni", right, 1 / scales, left, displacements))


def angle_between(pose: Array, other: Array) -> float:
    """The angle in degrees between the rotations of two poses [6]."""
    rotation = Rotation.from_rotvec(pose[1:4]) * Rotation.from_rotvec(other[1:4]).inv()
    return float(np.degrees(rotation.magnitude()))
