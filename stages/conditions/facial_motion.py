"""The driver's head pose, expression and gaze, taken apart and put onto the example's face with a strength each.

A face in an image is a rigid head, seen without perspective, whose parts are displaced by the expression. The head is the example's own
landmarks with the depths of an average head. Its pose in a driving frame is the scaled rotation in three dimensions and the shift that
bring the points that no muscle moves (temples, bridge and base of the nose, corners of the eyes) nearest to the frame's. So the
foreshortening of a turned face belongs to the pose. What the pose leaves is the expression, as displacements [68, 2] in the plane of the
example, and the gaze, the irises within their eyes.

Limits: depths are those of an average head, so a few per cent of a large turn are taken for expression. The contour of a turned head shows
other points of it than that of a head that faces the camera: of what changes in it, only the displacement of the chin, which fades towards
the temples, counts as expression of the jaw, and the rest as pose.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.conditions.head import Array, Head, angle_between, displacements_of, seen_displacements
from stages.conditions.landmarks import IRIS_POINTS, LANDMARKS, LEFT_EYE, RIGHT_EYE, eye_distance
from stages.conditions.motion import Motion
from stages.conditions.normalise import nearest_weights

CONTOUR, CHIN = slice(0, 17), slice(7, 10)
JAW = np.sin(np.linspace(0, np.pi, 17)) ** 2
"""How far each point of the contour moves with the chin."""
EYES = slice(17, 27), slice(36, 48)
EXPRESSIVE = [*range(17, 27), *range(36, 68)]
"""Brows, lids and lips."""
CORNERS = [36, 39], [42, 45]
"""Of the eyes that the irises 0 to 4 and 5 to 9 are in."""


class Opening(NamedTuple):
    """Lids or lips: landmarks that never pass each other."""

    upper: list[int]
    lower: list[int]
    corners: list[int]


RIGHT, LEFT, MOUTH = (
    Opening([37, 38], [41, 40], CORNERS[0]), Opening([43, 44], [47, 46], CORNERS[1]), Opening([61, 62, 63], [67, 66, 65], [60, 64])
)  # fmt: skip
OPENINGS, LIDS = (RIGHT, LEFT, MOUTH), ((RIGHT_EYE, RIGHT), (LEFT_EYE, LEFT))
LIMIT = 1.6
"""Largest factor by which the closing of lids is scaled in relative motion; the smallest is its inverse."""
FAR_TURN, FAR_EXPRESSION = 12.0, 0.12
"""Degrees, and root mean square displacement of mouth, lids and brows in eye distances: beyond, a frame is far from the reference."""


class FacialMotion:
    """The motion of a driving face, to be made by an example's face.

    driving: [T, 78, 3], example: [78, 3], landmarks and irises in pixels of the same images. At least one driving frame shows a face.
    Motion is measured from the reference, the weighted mean of the driving frames whose shapes are most like the example's, over the whole
    clip: so the first frame may have any pose.
    """

    def __init__(self, driving: np.ndarray, example: np.ndarray) -> None:
        self._driving, self._example = driving, example
        self._seen = driving[:, :LANDMARKS, 2].any(1)
        faces, self._face = driving[self._seen, :, :2].astype(np.float64), example[:, :2].astype(np.float64)
        shapes = faces[:, :LANDMARKS]
        self._weights = nearest_weights(shapes, self._face[:LANDMARKS])
        self._head = Head.of(self._face[:LANDMARKS])
        self._poses = self._head.poses(shapes)
        left = shapes - self._head.posed(self._poses, np.zeros_like(shapes))
        self._displacements = displacements_of(left, self._poses)
        jaw = JAW[:, None] * self._displacements[:, CHIN].mean(1, keepdims=True)
        self._displacements[:, CONTOUR] = jaw + self._mean(self._displacements[:, CONTOUR] - jaw)
        self._rest = left - seen_displacements(self._displacements, self._poses)
        self._looks = displacements_of(_in_eyes(faces), self._poses)

    @property
    def reference(self) -> int:
        """The driving frame that counts most in the reference."""
        return int(np.flatnonzero(self._seen)[self._weights.argmax()])

    def far(self, motion: Motion) -> str:
        """Why the first frame with a face is far from the reference, as part of a sentence; empty if it is near.

        Only parts whose motion is measured from the reference count.
        """
        parts = motion.from_reference
        turn = angle_between(self._poses[0], self._weights @ self._poses)
        if "pose" in parts and turn > FAR_TURN:
            return f"its head is turned by {turn:.0f} degrees from there"
        if not parts & {"mouth", "eyes"}:
            return ""
        apart = (self._displacements[0] - self._mean(self._displacements))[EXPRESSIVE]
        far = np.sqrt(np.square(apart).sum(-1).mean()) > FAR_EXPRESSION * eye_distance(self._face)
        return "it has another expression" if far else ""

    def made(self, motion: Motion) -> np.ndarray:
        """The driving landmarks [T, 78, 3] with the motion of `motion`; frames without a face stay empty.

        A part of strength 0 stays the example's, in the pose that the head has.
        """
        if motion.unchanged:
            return self._driving
        poses, rest = self._turned(motion)
        shapes = self._head.posed(poses, self._apart(self._displaced(motion))) + rest
        result: np.ndarray = self._driving.copy()
        result[self._seen, :LANDMARKS, :2] = shapes
        result[self._seen, LANDMARKS:] = self._gazing(shapes, poses, motion)
        return result

    def _turned(self, motion: Motion) -> tuple[Array, Array]:
        """Poses [T, 6], and what is left of the driver's contour [T, 68, 2]."""
        mean = self._weights @ self._poses
        relative = "pose" in motion.relative
        poses = _towards(self._poses, mean, motion.pose, relative)
        rest = _towards(self._rest, self._mean(self._rest), motion.pose, relative)
        if relative:  # in pixels, which are those of the driver's size
            poses[:, 4:] *= np.exp(-mean[0])
            rest *= np.exp(-mean[0])
        return poses, rest

    def _displaced(self, motion: Motion) -> Array:
        """Displacements [T, 68, 2] of the example's landmarks."""
        strengths, relative = np.full((LANDMARKS, 1), motion.mouth), np.full((LANDMARKS, 1), "mouth" in motion.relative)
        for eyes in EYES:
            strengths[eyes], relative[eyes] = motion.eyes, "eyes" in motion.relative
        mean = self._mean(self._displacements)
        displacements = _towards(self._displacements, mean, strengths, relative)
        if "eyes" in motion.relative:
            self._close(displacements, mean)
        return displacements

    def _close(self, displacements: Array, mean: Array) -> None:
        """Let lids close as far as the driver's do, however far the example's are open; in place. mean: at the reference."""
        for lids, opening in LIDS:
            own, theirs = (float(self._gaps(opening, shape).mean()) for shape in (np.zeros_like(mean), mean))
            closing = self._gaps(opening, displacements).mean(1) < own
            displacements[closing, lids] *= np.clip(own / max(theirs, 1e-6), 1 / LIMIT, LIMIT)

    def _apart(self, displacements: Array) -> Array:
        """Without lids and lips that pass each other further than the example's or the driver's own do; in place."""
        for opening in OPENINGS:
            own, theirs = (self._gaps(opening, shapes) for shapes in (np.zeros_like(displacements), self._displacements))
            lacking = np.minimum(np.minimum(own, theirs), 0) - self._gaps(opening, displacements)
            down = np.maximum(lacking, 0)[..., None] / 2 * self._down(opening)
            displacements[:, opening.upper] -= down
            displacements[:, opening.lower] += down
        return displacements

    def _gaps(self, opening: Opening, displacements: Array) -> Array:
        """Between upper and lower landmarks of the example, displaced by [..., 68, 2]: [..., n], negative where they pass each other."""
        shapes = self._face[:LANDMARKS] + displacements
        return np.asarray((shapes[..., opening.lower, :] - shapes[..., opening.upper, :]) @ self._down(opening))

    def _down(self, opening: Opening) -> Array:
        """The direction [2] from upper to lower landmarks in the example: across the line through the corners."""
        start, end = self._face[opening.corners]
        along = (end - start) / max(float(np.linalg.norm(end - start)), 1e-6)
        return np.array([-along[1], along[0]])

    def _gazing(self, shapes: Array, poses: Array, motion: Motion) -> Array:
        """Irises [T, 10, 3] in the eyes of shapes [T, 68, 2]: the example's if the gaze has no strength, else where the driver has any."""
        confidence = self._driving[self._seen, LANDMARKS:, 2]
        known, own = (confidence > 0).all(1), self._example[LANDMARKS:, 2]
        mean = np.average(self._looks[known], 0, self._weights[known] + 1e-9) if known.any() else np.zeros((IRIS_POINTS, 2))
        look = _in_eyes(self._face[None])[0] if own.all() else mean
        looks = look + _towards(self._looks - look, mean - look, motion.gaze, "gaze" in motion.relative)
        if own.all() and motion.gaze == 0:
            confidence = np.broadcast_to(own, confidence.shape)
        irises = np.concatenate([_eye_centres(shapes) + seen_displacements(looks, poses), confidence[..., None]], -1)
        irises[confidence <= 0] = 0
        return np.asarray(irises)

    def _mean(self, values: Array) -> Array:
        return np.asarray(np.tensordot(self._weights, values, 1))


def _towards(values: Array, mean: Array, strength: float | Array, relative: bool | NDArray[np.bool_]) -> Array:
    """Differences from the example with a strength: those of the driver at 1, and beyond 1 away from their mean at the reference.

    Relative motion is away from the reference at every strength.
    """
    away = np.where(relative, strength, np.maximum(np.asarray(strength) - 1, 0))
    return np.asarray(strength * values - away * mean)


def _in_eyes(faces: Array) -> Array:
    """Irises [T, 10, 2] from the centres of their eyes; faces [T, 78, 2]."""
    return np.asarray(faces[:, LANDMARKS:] - _eye_centres(faces))


def _eye_centres(faces: Array) -> Array:
    """[T, 10, 2]: between the corners of the eye of each point of the irises; faces [T, >= 68, 2]."""
    return np.repeat(np.stack([faces[:, corners].mean(1) for corners in CORNERS], 1), IRIS_POINTS // 2, axis=1)
