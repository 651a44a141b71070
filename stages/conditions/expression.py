"""A face with the expression of another person, the driver, frame by frame. Its head pose does not change.

Expressions are measured relative to a reference: one frame of the face, and the weighted mean of the driver's frames with the most similar
expression. Expressions are similar if the mouths are equally open, and if lids, brows and corners of the mouth are equally far from their
usual places.
"""

from __future__ import annotations

import numpy as np

from stages.conditions.facial_motion import BROWS_AND_LIDS, MOUTH, FacialMotion
from stages.conditions.head import AVERAGE_HEAD, Array, Head, back_project
from stages.conditions.landmarks import LANDMARKS
from stages.conditions.motion import Motion
from stages.conditions.normalise import NEAREST_SHARE, normalise

MAX_COMPARED = 500
"""Largest number of frames of each video that are compared to find the reference frame of the face."""
TURN_WEIGHT = 0.1
"""Difference of expressions, in eye distances, that counts as much as a head that is turned by one radian."""
EXPRESSIVE_LANDMARKS = [
    *range(BROWS_AND_LIDS[0].start, BROWS_AND_LIDS[0].stop),
    *range(BROWS_AND_LIDS[1].start, BROWS_AND_LIDS[1].stop),
    48,
    54,
]
"""Landmarks of brows, lids and corners of the mouth. Their positions at rest differ between faces."""


def with_expression(faces: np.ndarray, driver: np.ndarray, motion: Motion, *, proportions: bool) -> np.ndarray:
    """faces [T, 78, 3] with the expression and gaze of a driver [T, 78, 3], whose face every frame shows. Poses stay as they are.

    proportions: whether the driver's face is given the proportions of the other. Frames without a face stay empty.
    """
    reference, weights = find_reference(faces, driver)
    fitted = normalise(driver, faces[reference], proportions=proportions)
    return FacialMotion(faces, faces[reference]).with_expression_of(FacialMotion(fitted, faces[reference], weights), motion)


def find_reference(faces: np.ndarray, driver: np.ndarray) -> tuple[int, Array]:
    """The index of the frame of faces [T, 78, 3] from which expressions are measured, and weights [T] of the driver's frames [T, 78, 3].

    Only the driver's frames with the most similar expression have weights above 0. The sum of the weights is 1. Frames in which both heads
    face the camera are preferred.
    """
    seen = np.flatnonzero(faces[:, :LANDMARKS, 2].any(1))
    face_frames, driver_frames = _evenly_spaced(seen), _evenly_spaced(np.arange(len(driver)))
    (expressions, turns), (driver_expressions, driver_turns) = _expressions(faces[face_frames]), _expressions(driver)
    compared = driver_expressions[driver_frames]
    distances = np.square(expressions).sum(1)[:, None] + np.square(compared).sum(1) - 2 * expressions @ compared.T
    best = int((distances + turns[:, None] + driver_turns[driver_frames]).min(1).argmin())
    distance = np.square(driver_expressions - expressions[best]).sum(1) + driver_turns
    chosen = distance.argsort(kind="stable")[: max(1, round(NEAREST_SHARE * len(driver)))]
    weights = np.zeros(len(driver))
    weights[chosen] = np.exp((distance[chosen[0]] - distance[chosen]) / max(distance[chosen[0]], 1e-12))
    return int(face_frames[best]), weights / weights.sum()


def _evenly_spaced(indices: np.ndarray) -> np.ndarray:
    """At most MAX_COMPARED of the indices."""
    return np.asarray(indices[np.linspace(0, len(indices) - 1, min(len(indices), MAX_COMPARED)).round().astype(int)])


def _expressions(faces: np.ndarray) -> tuple[Array, Array]:
    """Features [T, N] that are nearly the same for two persons with the same expression, and a penalty [T] for turned heads."""
    head, shapes = Head(AVERAGE_HEAD), faces[:, :LANDMARKS, :2].astype(np.float64)
    poses = head.poses(shapes)
    moved = back_project(shapes - head.posed_landmarks(poses, np.zeros_like(shapes)), poses)
    gaps = (AVERAGE_HEAD[:, 1] + moved[..., 1])[:, MOUTH.lower] - (AVERAGE_HEAD[:, 1] + moved[..., 1])[:, MOUTH.upper]
    parts = moved[:, EXPRESSIVE_LANDMARKS] - np.median(moved[:, EXPRESSIVE_LANDMARKS], 0)
    features = np.concatenate([parts.reshape(len(faces), -1) / np.sqrt(2 * len(EXPRESSIVE_LANDMARKS)), gaps], 1)
    return features, np.square(TURN_WEIGHT * np.linalg.norm(poses[:, 1:4], axis=1))
