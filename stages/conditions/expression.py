"""A face with the expression of another person, the driver, frame by frame. Its head pose does not change.

The expressions of both are measured from a pair of frames in which they are most alike: the mouths are equally open, and lids and brows are
equally far from their usual places.
"""

from __future__ import annotations

import numpy as np

from stages.conditions.facial_motion import EYES, MOUTH, FacialMotion
from stages.conditions.head import AVERAGE_HEAD, Array, Head, back_project
from stages.conditions.landmarks import LANDMARKS
from stages.conditions.motion import Motion
from stages.conditions.normalise import NEAREST_SHARE, normalise

COMPARED = 500
"""Largest number of frames of each video that are compared."""
TURNED = 0.1
"""Difference of expressions, in eye distances, that counts as much as a head that is turned by one radian."""
MOVING = [*range(EYES[0].start, EYES[0].stop), *range(EYES[1].start, EYES[1].stop), 48, 54]
"""Brows, lids and corners of the mouth, which have other places in other faces."""


def with_expression(faces: np.ndarray, driver: np.ndarray, motion: Motion, *, proportions: bool) -> np.ndarray:
    """faces [T, 78, 3] with the expression and gaze of a driver [T, 78, 3], whose face every frame shows. Poses stay as they are.

    proportions: whether the driver's face is given the proportions of the other. Frames without a face stay empty.
    """
    own, weights = most_alike(faces, driver)
    fitted = normalise(driver, faces[own], proportions=proportions)
    return FacialMotion(faces, faces[own]).with_expression_of(FacialMotion(fitted, faces[own], weights), motion)


def most_alike(faces: np.ndarray, driver: np.ndarray) -> tuple[int, Array]:
    """The frame of faces [T, 78, 3] from which expressions are measured, and weights of the driver's frames [T, 78, 3] that are like it.

    Among frames that are alike, those in which both heads face the camera are preferred.
    """
    seen = np.flatnonzero(faces[:, :LANDMARKS, 2].any(1))
    some, others = _spread(seen), _spread(np.arange(len(driver)))
    (expressions, turns), (driver_expressions, driver_turns) = _expressions(faces[some]), _expressions(driver)
    compared = driver_expressions[others]
    distances = np.square(expressions).sum(1)[:, None] + np.square(compared).sum(1) - 2 * expressions @ compared.T
    best = int((distances + turns[:, None] + driver_turns[others]).min(1).argmin())
    distance = np.square(driver_expressions - expressions[best]).sum(1) + driver_turns
    chosen = distance.argsort(kind="stable")[: max(1, round(NEAREST_SHARE * len(driver)))]
    weights = np.zeros(len(driver))
    weights[chosen] = np.exp((distance[chosen[0]] - distance[chosen]) / max(distance[chosen[0]], 1e-12))
    return int(some[best]), weights / weights.sum()


def _spread(indices: np.ndarray) -> np.ndarray:
    return np.asarray(indices[np.linspace(0, len(indices) - 1, min(len(indices), COMPARED)).round().astype(int)])


def _expressions(faces: np.ndarray) -> tuple[Array, Array]:
    """Numbers [T, N] that are nearly the same for two persons with the same expression, and a penalty [T] for turned heads."""
    head, shapes = Head(AVERAGE_HEAD), faces[:, :LANDMARKS, :2].astype(np.float64)
    poses = head.poses(shapes)
    moved = back_project(shapes - head.posed_landmarks(poses, np.zeros_like(shapes)), poses)
    gaps = (AVERAGE_HEAD[:, 1] + moved[..., 1])[:, MOUTH.lower] - (AVERAGE_HEAD[:, 1] + moved[..., 1])[:, MOUTH.upper]
    parts = moved[:, MOVING] - np.median(moved[:, MOVING], 0)
    numbers = np.concatenate([parts.reshape(len(faces), -1) / np.sqrt(2 * len(MOVING)), gaps], 1)
    return numbers, np.square(TURNED * np.linalg.norm(poses[:, 1:4], axis=1))
