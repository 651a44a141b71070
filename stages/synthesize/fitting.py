"""Decide whether and how the driving keypoints are fitted to the example. It depends on what the example and the driving clip show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from stages.clip import Clip
from stages.conditions import crop
from stages.conditions.kinds import find_kind, open_track
from stages.conditions.kinds.faces import LandmarkTrack
from stages.conditions.landmarks import eye_distance
from stages.conditions.normalise import fit, nearest
from stages.conditions.view import View
from stages.errors import UsageError
from stages.models import identity

Normalize = Literal["auto", "on", "off"]
SAME_SHAPE = 0.02
"""The landmarks of an image and its copy differ by less than this root mean square distance, in eye distances. Compression and
scaling may move them."""
SAME_PIXELS = 8.0
"""The heads in an image and in its copy differ by less than this on average, in grey levels."""
THUMBNAIL = 64
"""Width and height in pixels at which heads are compared."""


@dataclass(frozen=True)
class Fitting:
    """How the driving keypoints are fitted to the example, and why."""

    method: Literal["none", "place", "proportions"]
    """none: they are not changed. place: one scale and shift for the whole clip. proportions: also the example's proportions."""
    reason: str
    """As part of a sentence."""


def decide(normalize: Normalize, kind: str, examples: Sequence[Clip], driving: Clip) -> Fitting:
    """The fitting for a model of this kind. For `auto`, the driving keypoints are not changed if an example is the driving video itself.
    Otherwise the first face of the first example decides: if it is that of the driving person, the driving keypoints keep their
    proportions, else they get the example's. Without two faces to compare, as for bodies, they get the example's proportions.

    Raises UsageError when `normalize` is "on" and this kind of driving cannot be fitted.
    """
    if normalize == "off":
        return Fitting("none", "it is switched off")
    if not examples:
        return Fitting("none", "there is no example")
    if not find_kind(kind).fits_example:
        if normalize == "on":
            raise UsageError(f"a model driven by {kind} cannot be normalized", code="not-normalizable")
        return Fitting("none", f"{kind} has no proportions to fit")
    if normalize == "on":
        return Fitting("proportions", "it is switched on")
    if driving.has("frames"):
        digest = driving.frames_digest()
        if any(digest == clip.frames_digest() for clip in examples if clip.has("frames")):
            return Fitting("none", "the example is the driving video itself")
        if find_kind(kind).shows_face and examples[0].has("frames"):
            return _decide_by_faces(examples[0], driving)
    return Fitting("proportions", "the example is not from the driving video")


def _decide_by_faces(example: Clip, driving: Clip) -> Fitting:
    """The fitting for `auto`: compare the example's first face with the driving face in the most similar pose."""
    shown, driver = open_track(example, "landmarks"), open_track(driving, "landmarks")
    assert isinstance(shown, LandmarkTrack) and isinstance(driver, LandmarkTrack)
    seen = [index for index in range(driver.num_frames) if driver.seen(index)]
    first = next((index for index in range(shown.num_frames) if shown.seen(index)), None)
    if first is None or not seen:
        return Fitting("proportions", "no face is visible")
    face = shown.points[first, 0]
    closest = seen[int(nearest(driver.points[seen, 0, :, :2], face[:, :2])[0])]
    image, frame, other = example.frame(first), driving.frame(closest), driver.points[closest, 0]
    if _is_copy(image, face, frame, other):
        return Fitting("place", f"the example is frame {closest} of the driving video")
    describe = identity.open_if_available()
    if describe is None:
        return Fitting("proportions", "the example is not a frame of the driving video")
    distance = float(np.linalg.norm(describe(image, face) - describe(frame, other)))
    if distance < identity.SAME_PERSON:
        return Fitting(
            "place", f"the example shows the driving person (distance of their faces {distance:.2f}, below {identity.SAME_PERSON})"
        )
    return Fitting("proportions", f"the example shows another person (distance of their faces {distance:.2f})")


def _is_copy(image: np.ndarray, face: np.ndarray, frame: np.ndarray, other: np.ndarray) -> bool:
    """Whether an image with the landmarks `face` [68, 3] is a copy of the frame with the landmarks `other`, apart from scale, position and
    compression."""
    scale, shift = fit(other[:, :2], face[:, :2])
    moved = other.copy()
    moved[:, :2] = other[:, :2] * scale + shift
    if np.sqrt(np.square(moved[:, :2] - face[:, :2]).sum(1).mean()) > SAME_SHAPE * eye_distance(face):
        return False
    x, y, side = crop.head_boxes(face[None])[0] * [1, 1, 0.5]
    image_view = View.crop(np.array([x - side / 2, y - side / 2, side]), THUMBNAIL, THUMBNAIL)
    frame_view = View(np.array([[scale, 0, shift[0]], [0, scale, shift[1]]]), *image.shape[:2]).then(image_view)
    return bool(np.abs(image_view.image(image).astype(float) - frame_view.image(frame)).mean() < SAME_PIXELS)
