"""Separates the driver's head pose, expression and gaze, and applies each to the example's face with a strength of its own.

The model of a face is a rigid head under scaled orthographic projection, whose landmarks the expression displaces. The head consists of
the example's landmarks with the depths of an average head. Its pose in a driving frame is the scale, 3D rotation and shift that fit the
rigid landmarks (temples, bridge and base of the nose, corners of the eyes) to those of the frame. The foreshortening of a turned face is
therefore part of the pose. The remaining differences are the expression, as displacements [68, 2] in the plane of the example, and the
gaze, as offsets of the irises from their eyes.

Limits: the depths are those of an average head, so that a few per cent of a large turn are attributed to the expression. The contour of a
turned head consists of other points of the head than that of a frontal one. Therefore only the displacement of the chin, which fades
towards the temples, counts as expression of the jaw; the rest of the change of the contour counts as pose.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.conditions.head import Array, Head, angle_between, back_project, project
from stages.conditions.landmarks import IRIS_POINTS, LANDMARKS, LEFT_EYE, RIGHT_EYE, eye_distance
from stages.conditions.motion import Motion
from stages.conditions.normalise import nearest_weights

CONTOUR, CHIN = slice(0, 17), slice(7, 10)
JAW = np.sin(np.linspace(0, np.pi, 17)) ** 2
"""Share of the displacement of the chin that each point of the contour gets."""
BROWS_AND_LIDS = slice(17, 27), slice(36, 48)
"""The landmarks that move with the strength `Motion.eyes`."""
EXPRESSIVE = [*range(17, 27), *range(36, 68)]
"""Brows, lids and lips."""
CORNERS = [36, 39], [42, 45]
"""Corners of the eye with iris points 0 to 4, and of the eye with points 5 to 9."""


class Opening(NamedTuple):
    """Landmarks of the lids of an eye or of the lips. The upper ones stay above the lower ones."""

    upper: list[int]
    lower: list[int]
    corners: list[int]


RIGHT, LEFT, MOUTH = (
    Opening([37, 38], [41, 40], CORNERS[0]), Opening([43, 44], [47, 46], CORNERS[1]), Opening([61, 62, 63], [67, 66, 65], [60, 64])
)  # fmt: skip
OPENINGS, LIDS = (RIGHT, LEFT, MOUTH), ((RIGHT_EYE, RIGHT), (LEFT_EYE, LEFT))
MAX_LID_SCALE = 1.6
"""Largest factor by which the closing of lids is scaled in relative motion; the smallest factor is its inverse."""
SHUT = 0.6
"""An eye counts as partly closed if it is open by less than this share of its median opening."""
FAR_TURN, FAR_EXPRESSION = 12.0, 0.12
"""A frame is far from the reference if the head is turned by more than the first number, in degrees, or if the root mean square
displacement of mouth, lids and brows is larger than the second, in eye distances."""


class FacialMotion:
    """The motion of a driving face, which can be applied to an example's face.

    driving: [T, 78, 3], example: [78, 3], landmarks and irises in the same pixel coordinates. At least one driving frame shows a face.
    Motion is measured from the reference: the weighted mean of those driving frames of the whole clip whose shapes are most like the
    example's. The first frame may therefore have any pose. weights: other weights of the driving frames with a face, with the sum 1.
    """

    def __init__(self, driving: np.ndarray, example: np.ndarray, weights: Array | None = None) -> None:
        self._driving, self._example = driving, example
        self._seen = driving[:, :LANDMARKS, 2].any(1)
        faces, self._face = driving[self._seen, :, :2].astype(np.float64), example[:, :2].astype(np.float64)
        shapes = faces[:, :LANDMARKS]
        self._weights = nearest_weights(shapes, self._face[:LANDMARKS]) if weights is None else weights
        self._head = Head.from_landmarks(self._face[:LANDMARKS])
        self._poses = self._head.poses(shapes)
        differences = shapes - self._head.posed_landmarks(self._poses, np.zeros_like(shapes))
        self._displacements = back_project(differences, self._poses)
        jaw = JAW[:, None] * self._displacements[:, CHIN].mean(1, keepdims=True)
        self._displacements[:, CONTOUR] = jaw + self._reference_mean(self._displacements[:, CONTOUR] - jaw)
        self._residuals = differences - project(self._displacements, self._poses)
        self._gaze = back_project(_iris_offsets(faces), self._poses)

    @property
    def reference(self) -> int:
        """The index of the driving frame with the largest weight in the reference."""
        return int(np.flatnonzero(self._seen)[self._weights.argmax()])

    def start_difference(self, motion: Motion) -> str:
        """How the first frame with a face differs from the reference, as part of a sentence; empty if it differs little.

        Only parts whose motion is measured from the reference count.
        """
        parts = motion.from_reference
        turn = angle_between(self._poses[0], self._weights @ self._poses)
        if "pose" in parts and turn > FAR_TURN:
            return f"its head is turned by {turn:.0f} degrees from there"
        if not parts & {"mouth", "eyes"}:
            return ""
        differences = (self._displacements[0] - self._reference_mean(self._displacements))[EXPRESSIVE]
        far = np.sqrt(np.square(differences).sum(-1).mean()) > FAR_EXPRESSION * eye_distance(self._face)
        return "it has another expression" if far else ""

    def apply(self, motion: Motion) -> np.ndarray:
        """Landmarks and irises [T, 78, 3] of the example's face that moves as the driver does, with the strengths of `motion`.

        A part of strength 0 stays as in the example, in the pose of the head. Frames without a face stay empty.
        """
        if motion.unchanged:
            return self._driving
        poses, residuals = self._scaled_poses(motion)
        displacements = self._scaled_displacements(motion)
        self._separate_lids_and_lips(displacements, self._displacements)
        shapes = self._head.posed_landmarks(poses, displacements) + residuals
        result: np.ndarray = self._driving.copy()
        result[self._seen, :LANDMARKS, :2] = shapes
        result[self._seen, LANDMARKS:] = self._irises(shapes, poses, motion)
        return result

    def with_expression_of(self, driver: FacialMotion, motion: Motion) -> np.ndarray:
        """These faces [T, 78, 3] in their own poses, with the expression and gaze of a driver whose face is seen in every frame.

        driver: the motion of the driver for the same example. A part of strength 0 stays as it is; at strength 1 the driver's
        expression replaces the face's own. But closed eyes stay closed, because the frames do not show what is behind the lids.
        """
        seen, kept = self._seen, np.maximum(1 - _by_landmark(motion.mouth, motion.eyes), 0)
        displacements = kept * self._displacements + driver._scaled_displacements(motion)[seen]
        self._separate_lids_and_lips(displacements, self._displacements, driver._displacements[seen])
        self._keep_closed_eyes(displacements, motion)
        shapes = self._head.posed_landmarks(self._poses, displacements) + self._residuals
        result: np.ndarray = self._driving.copy()
        result[seen, :LANDMARKS, :2] = shapes
        confidence = result[seen, LANDMARKS:, 2:]
        irises = _eye_centres(shapes) + project(self._gaze_of(driver, motion), self._poses)
        result[seen, LANDMARKS:] = np.where(confidence > 0, np.concatenate([irises, confidence], -1), 0)
        return result

    def _keep_closed_eyes(self, displacements: Array, motion: Motion) -> None:
        """Change displacements [T, 68, 2] in place, so that eyes are closed at least as far as in the face's own frames."""
        for _, opening in LIDS:
            own = self._gaps(opening, self._displacements).mean(1)
            closed = 1 - np.clip(own / max(SHUT * float(np.median(own)), 1e-6), 0, 1)
            lowered = min(motion.eyes, 1) * closed[:, None] * self._gaps(opening, displacements)
            displacements[:, opening.upper] += lowered[..., None] * self._down(opening)

    def _gaze_of(self, driver: FacialMotion, motion: Motion) -> Array:
        """Offsets [T, 10, 2] of the irises. Relative gaze is measured from the median gaze of each of the two persons."""
        seen, known, driver_known = self._seen, self._irises_known(), driver._irises_known()
        if not (known.any() and driver_known.any()):
            return self._gaze
        relative, kept = "gaze" in motion.relative, max(1 - motion.gaze, 0)
        change = _scale_motion(driver._gaze[seen], np.median(driver._gaze[driver_known], 0), motion.gaze, relative)
        usual = (1 - kept) * np.median(self._gaze[known], 0) if relative else 0
        return np.where(driver_known[seen][:, None, None], kept * self._gaze + usual + change, self._gaze)

    def _irises_known(self) -> NDArray[np.bool_]:
        """Whether the frames with a face have both irises."""
        return np.asarray((self._driving[self._seen, LANDMARKS:, 2] > 0).all(1))

    def _scaled_poses(self, motion: Motion) -> tuple[Array, Array]:
        """Poses [T, 6] with the strength of the pose, and the residuals of the contour [T, 68, 2] that belong to them."""
        mean = self._weights @ self._poses
        relative = "pose" in motion.relative
        poses = _scale_motion(self._poses, mean, motion.pose, relative)
        residuals = _scale_motion(self._residuals, self._reference_mean(self._residuals), motion.pose, relative)
        if relative:  # from pixels of the driver's face to pixels of the example's
            poses[:, 4:] *= np.exp(-mean[0])
            residuals *= np.exp(-mean[0])
        return poses, residuals

    def _scaled_displacements(self, motion: Motion) -> Array:
        """Displacements [T, 68, 2] of the example's landmarks, with the strengths of mouth and eyes."""
        strengths = _by_landmark(motion.mouth, motion.eyes)
        relative = _by_landmark("mouth" in motion.relative, "eyes" in motion.relative)
        mean = self._reference_mean(self._displacements)
        displacements = _scale_motion(self._displacements, mean, strengths, relative)
        if "eyes" in motion.relative:
            self._scale_lid_closing(displacements, mean)
        return displacements

    def _scale_lid_closing(self, displacements: Array, mean: Array) -> None:
        """Scale displacements [T, 68, 2] in place, so that lids close completely when the driver's do, however wide the example's eyes are.

        mean: the driver's displacements [68, 2] at the reference.
        """
        for lids, opening in LIDS:
            example_gap, driver_gap = (float(self._gaps(opening, shape).mean()) for shape in (np.zeros_like(mean), mean))
            closing = self._gaps(opening, displacements).mean(1) < example_gap
            displacements[closing, lids] *= np.clip(example_gap / max(driver_gap, 1e-6), 1 / MAX_LID_SCALE, MAX_LID_SCALE)

    def _separate_lids_and_lips(self, displacements: Array, *detected: Array) -> None:
        """Change displacements [T, 68, 2] in place, so that lids and lips overlap no more than in the example or in a detected face.

        detected: displacements [T, 68, 2] of detected faces.
        """
        for opening in OPENINGS:
            gaps = [self._gaps(opening, allowed) for allowed in (np.zeros_like(displacements), *detected)]
            overlap = np.minimum(np.min(gaps, 0), 0) - self._gaps(opening, displacements)
            down = np.maximum(overlap, 0)[..., None] / 2 * self._down(opening)
            displacements[:, opening.upper] -= down
            displacements[:, opening.lower] += down

    def _gaps(self, opening: Opening, displacements: Array) -> Array:
        """Gaps [..., n] between upper and lower landmarks of the example, displaced by [..., 68, 2]; negative where they overlap."""
        shapes = self._face[:LANDMARKS] + displacements
        return np.asarray((shapes[..., opening.lower, :] - shapes[..., opening.upper, :]) @ self._down(opening))

    def _down(self, opening: Opening) -> Array:
        """The unit vector [2] from upper to lower landmarks of the example, at right angles to the line through the corners."""
        start, end = self._face[opening.corners]
        along = (end - start) / max(float(np.linalg.norm(end - start)), 1e-6)
        return np.array([-along[1], along[0]])

    def _irises(self, shapes: Array, poses: Array, motion: Motion) -> Array:
        """Irises [T, 10, 3] in the eyes of shapes [T, 68, 2].

        With gaze strength 0 they are the example's, if it has irises. Otherwise irises that the driver lacks in a frame stay missing.
        """
        confidence, known = self._driving[self._seen, LANDMARKS:, 2], self._irises_known()
        example_confidence = self._example[LANDMARKS:, 2]
        mean = np.average(self._gaze[known], 0, self._weights[known] + 1e-9) if known.any() else np.zeros((IRIS_POINTS, 2))
        example_gaze = _iris_offsets(self._face[None])[0] if example_confidence.all() else mean
        gaze = example_gaze + _scale_motion(self._gaze - example_gaze, mean - example_gaze, motion.gaze, "gaze" in motion.relative)
        if example_confidence.all() and motion.gaze == 0:
            confidence = np.broadcast_to(example_confidence, confidence.shape)
        irises = np.concatenate([_eye_centres(shapes) + project(gaze, poses), confidence[..., None]], -1)
        irises[confidence <= 0] = 0
        return np.asarray(irises)

    def _reference_mean(self, values: Array) -> Array:
        """The weighted mean over the frames of the reference; values [T, ...]."""
        return np.asarray(np.tensordot(self._weights, values, 1))


def _scale_motion(values: Array, mean: Array, strength: float | Array, relative: bool | Array) -> Array:
    """Differences of the driver from the example, scaled by a strength; mean: those of the reference.

    Relative motion is strength * (values - mean). Absolute motion is strength * values up to strength 1; the part of the strength above 1
    scales the difference from the mean.
    """
    mean_strength = np.where(relative, strength, np.maximum(np.asarray(strength) - 1, 0))
    return np.asarray(strength * values - mean_strength * mean)


def _by_landmark(mouth: float, eyes: float) -> Array:
    """[68, 1]: the value `eyes` for brows and lids, `mouth` for all other landmarks."""
    values = np.full((LANDMARKS, 1), mouth)
    for landmarks in BROWS_AND_LIDS:
        values[landmarks] = eyes
    return values


def _iris_offsets(faces: Array) -> Array:
    """Offsets [T, 10, 2] of the points of the irises from the centres of their eyes; faces [T, 78, 2]."""
    return np.asarray(faces[:, LANDMARKS:] - _eye_centres(faces))


def _eye_centres(faces: Array) -> Array:
    """For each point of the irises the middle between the corners of its eye, [T, 10, 2]; faces [T, >= 68, 2]."""
    return np.repeat(np.stack([faces[:, corners].mean(1) for corners in CORNERS], 1), IRIS_POINTS // 2, axis=1)
