"""The driving kinds of faces: 68 landmarks, without irises in s_t or with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from stages.clip import Clip, Producer
from stages.conditions import crop, landmarks
from stages.conditions.appearance import head_angles
from stages.conditions.kinds.kind import Keypoints, Kind, grey
from stages.conditions.landmarks import LANDMARKS, eye_distance
from stages.conditions.motion import Motion
from stages.conditions.normalise import normalise
from stages.conditions.reach import Pose
from stages.conditions.source_clip import Size, SourceClip, jumps, main_subject_of, transform_points
from stages.conditions.tracks import DetectorNoise, Moments, Track, main_subject, select_subject
from stages.conditions.view import View
from stages.errors import UsageError

if TYPE_CHECKING:
    import torch

IRIS_DROP_PROBABILITY = 0.25
"""Probability that irises are left out of a training window or of a set of examples, so that one model works with and without them."""
MIN_EYE_DISTANCE = 12
"""Smallest eye distance in pixels of an example; smaller faces give blurred results."""
HEAD_IN_FACES = (1.4, 1.7)
"""Width and height of a head with its hair, in face sizes (see `stages/conditions/crop.py`)."""
MAX_CROP_OUTSIDE = 0.1
"""If more than this share of the head crop lies outside the image, the head itself is probably cut off."""
MAX_YAW, MAX_PITCH = 25.0, 20.0
"""Largest difference in degrees from the nearest example. If it is larger, the frame shows parts of the head that no example shows."""


class LandmarkTrack(Track):
    """The faces of a clip.

    points: landmarks [T, P, 68, 3]. iris: [T, P, 10, 3], or None if unknown. draw_irises: whether s_t has a channel for the irises.
    """

    def __init__(self, points: np.ndarray, iris: np.ndarray | None = None, *, draw_irises: bool = False) -> None:
        self.points, self.draw_irises = points, draw_irises
        self.iris = np.zeros((*points.shape[:2], landmarks.IRIS_POINTS, 3), np.float32) if iris is None else iris
        self.channels = landmarks.SEMANTIC_CHANNELS + draw_irises * landmarks.IRIS_CHANNELS
        self.num_frames = len(points)

    def faces(self, index: int, view: View) -> np.ndarray:
        """Landmarks [P, 68, 3] of a frame through the view."""
        points = view.points(self.points[index])
        return points[:, landmarks.MIRROR] if view.mirrored else points

    def _irises(self, index: int, view: View, noise: DetectorNoise | None) -> np.ndarray:
        """Irises [P, 10, 3] of a frame through the view."""
        irises = view.points(self.iris[index])
        if noise is not None and noise.window_rng().random() < IRIS_DROP_PROBABILITY:
            irises = np.zeros_like(irises)
        return irises[:, landmarks.MIRROR_IRISES] if view.mirrored else irises

    def semantic(self, index: int, view: View, noise: DetectorNoise | None = None) -> np.ndarray:
        faces = self.faces(index, view)
        maps = landmarks.semantic_image(faces, view.height, view.width)
        if not self.draw_irises:
            return maps
        drawn = landmarks.draw_irises(faces, self._irises(index, view, noise), view.height, view.width)
        return np.concatenate([maps, drawn[None] / np.float32(255)])

    def keypoints(self, index: int, view: View, noise: DetectorNoise | None = None) -> np.ndarray:
        """Landmarks and irises, [78, 3]."""
        return np.concatenate([self.faces(index, view)[0], self._irises(index, view, noise)[0]])

    def seen(self, index: int) -> bool:
        return bool(self.points[index, ..., 2].any())

    def drawing(self, index: int, view: View) -> np.ndarray:
        faces = self.faces(index, view)
        sketch = landmarks.draw_sketch(faces, view.height, view.width)
        drawn = np.maximum(sketch, landmarks.draw_irises(faces, self._irises(index, view, None), view.height, view.width))
        return np.repeat(drawn[..., None], 3, -1)

    def crops(self, clip: Clip, aspect: float) -> np.ndarray:
        """Squares around the head; `aspect` is ignored."""
        return crop.smooth_crops(self.points[:, 0], clip.width, clip.height, float(clip.fps))

    def fitted(self, views: Sequence[View], examples: Sequence[np.ndarray], *, proportions: bool) -> LandmarkTrack:
        """As `Track.fitted`, for the first example."""
        return self._track_of(normalise(self._points_through(views), examples[0], proportions=proportions))

    def with_motion(self, views: Sequence[View], examples: Sequence[np.ndarray], motion: Motion) -> tuple[LandmarkTrack, list[str]]:
        """As `Track.with_motion`, for the first example."""
        from stages.conditions.facial_motion import FacialMotion  # imports scipy.spatial

        facial_motion = FacialMotion(self._points_through(views), examples[0])
        difference, reference = facial_motion.start_difference(motion), facial_motion.reference
        far = f"the first driving frame is far from frame {reference}, which is most like the example: {difference}"
        notes = [f"{far}. Motion is measured from frame {reference}"] if difference else []
        return self._track_of(facial_motion.apply(motion)), notes

    def with_expression(self, driver: Track, moments: Moments, motion: Motion, *, proportions: bool) -> LandmarkTrack:
        """As `Track.with_expression`."""
        from stages.conditions.expression import with_expression

        assert isinstance(driver, LandmarkTrack)
        faces, driving = self._all_points()[: len(moments.share)], moments.of(driver._all_points())
        return self._track_of(with_expression(faces, driving, motion, proportions=proportions))

    def _all_points(self) -> np.ndarray:
        """Landmarks and irises, [T, 78, 3]."""
        return np.concatenate([self.points, self.iris], 2)[:, 0]

    def _points_through(self, views: Sequence[View]) -> np.ndarray:
        """Landmarks and irises through the views, [T, 78, 3]."""
        return np.stack([view.points(face) for view, face in zip(views, self._all_points(), strict=True)])

    def _track_of(self, faces: np.ndarray) -> LandmarkTrack:
        """A track of landmarks and irises [T, 78, 3]."""
        return LandmarkTrack(faces[:, None, :LANDMARKS], faces[:, None, LANDMARKS:], draw_irises=self.draw_irises)

    def quality_warnings(self, index: int, clip: Clip) -> tuple[str, ...]:
        points = self.points[index, 0]
        warnings = []
        centre_x, centre_y, side = crop.head_boxes(points[None])[0]
        head_crop = np.array([centre_x + 0.5 - side / 2, centre_y + 0.5 - side / 2, side])
        if crop.share_outside(head_crop, clip.width, clip.height) > MAX_CROP_OUTSIDE:
            warnings.append(f"the head reaches the border of {clip.id}: results will be worse, choose an image with room around the head")
        if eye_distance(points) < MIN_EYE_DISTANCE:
            warnings.append(f"the face in {clip.id} is very small: results will be blurred")
        return tuple(warnings)


def open_faces(clip: Clip, *, draw_irises: bool = False) -> LandmarkTrack:
    """The track of the face that is seen in most frames."""
    arrays = clip.layer("landmarks").arrays()
    chosen = main_subject(arrays["points"])
    iris = select_subject(chosen, arrays["iris"]) if "iris" in arrays else None
    return LandmarkTrack(select_subject(chosen, arrays["points"]), iris, draw_irises=draw_irises)


def track_of_frame(keypoints: Keypoints, *, draw_irises: bool = False) -> LandmarkTrack:
    """One frame with a face: landmarks and irises [78, 3]."""
    return LandmarkTrack(keypoints[None, None, :LANDMARKS], keypoints[None, None, LANDMARKS:], draw_irises=draw_irises)


def _appearance_coordinates(keypoints: Keypoints, semantic: NDArray[np.float32]) -> NDArray[np.float64]:
    """(pitch, yaw) in degrees: the coordinates of faces in adaptive compact attention, section 3.2."""
    pitch, yaw, _ = head_angles(keypoints[:LANDMARKS])
    return np.array([pitch, yaw])


def _pose(keypoints: Keypoints) -> Pose:
    face = keypoints[:LANDMARKS]
    pitch, yaw, _ = head_angles(face)
    width = max(float(np.ptp(face[:17, 0])), 1.0)
    return Pose({"turned": yaw / MAX_YAW, "tilted": pitch / MAX_PITCH}, face[:, :2].mean(0, dtype=np.float64), width)


def _cover(keypoints: Keypoints, mask: NDArray[np.uint8]) -> None:
    """Draws an ellipse that contains the face and its hair into the mask."""
    x, y, side = crop.head_boxes(keypoints[None, :LANDMARKS])[0]
    if np.isfinite(side):
        half_width, half_height = np.round(np.array(HEAD_IN_FACES) / 2 * side / crop.HEAD_CROP_IN_FACES).astype(int).tolist()
        cv2.ellipse(mask, (round(x), round(y)), (half_width, half_height), 0, 0, 360, 1, cv2.FILLED)


def _cover_features(keypoints: Keypoints, mask: NDArray[np.uint8]) -> None:
    """Draws the part that expressions move, the face with its forehead, into the mask."""
    contour = keypoints[:17, :2]
    if keypoints[:17, 2].all():
        outline = np.concatenate([contour, landmarks.forehead(contour)[::-1]])
        cv2.fillConvexPoly(mask, cv2.convexHull(np.round(outline).astype(np.int32)), 1)


def _result_arrays(keypoints: NDArray[np.float32]) -> dict[str, NDArray[np.generic]]:
    points, iris = keypoints[:, :, :LANDMARKS], keypoints[:, :, LANDMARKS:]
    return {"points": points, "iris": iris} if iris[..., 2].any() else {"points": points}


def draw(semantic: torch.Tensor) -> torch.Tensor:
    """Twice the mean of all channels (sketch, distance maps and irises), at most 1, as a grey image."""
    return grey(semantic.mean(1, keepdim=True) * 2)


class FaceSourceClip(SourceClip):
    """A clip of a face. Crops are squares around the head."""

    layer, task, shows = "landmarks", "face", "a face"

    def __init__(self, clip: Clip) -> None:
        super().__init__(clip)
        arrays = clip.layer("landmarks").arrays()
        chosen = main_subject_of(clip, arrays["points"])
        self.face = {name: array[:, [chosen]] for name, array in arrays.items() if name in ("points", "iris")}
        self.points = self.face["points"][:, 0]

    @classmethod
    def check_size(cls, size: Size) -> None:
        if size[0] != size[1]:
            raise UsageError(f"head crops must be square, not {size[0]}x{size[1]}", hint=f"Use the size {size[0]}")

    def usable(self) -> np.ndarray:
        return np.asarray(self.points[..., 2].max(1) > 0)

    def breaks(self) -> np.ndarray:
        return jumps(self.points, np.ptp(self.points[..., :2], axis=1).max(-1), crop.JUMP_IN_FACES)

    def crops(self, run: slice, size: Size) -> np.ndarray:
        return crop.smooth_crops(self.points[run], self.clip.width, self.clip.height, float(self.clip.fps))

    def write_layers(self, target: Clip, run: slice, views: Sequence[View], producer: Producer) -> None:
        with target.writing("landmarks", producer, self.inputs, {"points": "iBUG-68", "units": "pixels"}) as layer:
            layer.arrays({name: transform_points(views, array[run]) for name, array in self.face.items()})


KIND = Kind(
    name="landmarks",
    layers=("landmarks",),
    open=open_faces,
    appearance_coordinates=_appearance_coordinates,
    draw=draw,
    channels=landmarks.SEMANTIC_CHANNELS,
    pose=_pose,
    fits_example=True,
    shows_face=True,
    expressive=True,
    cover=_cover,
    cover_features=_cover_features,
    soft_edge=0.2,
    result_arrays=_result_arrays,
    dataset=FaceSourceClip,
    live=track_of_frame,
    extractor="stages.extract_sketch:extract_missing",
    default_model="face-256.safetensors",
)
WITH_IRISES = replace(
    KIND,
    name="landmarks+iris",
    open=partial(open_faces, draw_irises=True),
    live=partial(track_of_frame, draw_irises=True),
    channels=landmarks.SEMANTIC_CHANNELS + landmarks.IRIS_CHANNELS,
)
"""s_t has a channel for the irises, which is empty if the layer has none."""
