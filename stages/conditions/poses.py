"""Bodies: the BODY_25 skeleton, and how it is drawn as the semantic image s_t.

Keypoints are [..., 25, 3] float32: x, y in pixels (pixel centres at integers), confidence in [0, 1]; 0 means that the point is missing.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from stages.conditions.landmarks import MIRROR as FACE_MIRROR
from stages.tables.skeletons import POINT_COUNTS

NAMES: tuple[str, ...] = (
    "nose", "neck", "right shoulder", "right elbow", "right wrist", "left shoulder", "left elbow", "left wrist", "mid hip",
    "right hip", "right knee", "right ankle", "left hip", "left knee", "left ankle", "right eye", "left eye", "right ear", "left ear",
    "left big toe", "left small toe", "left heel", "right big toe", "right small toe", "right heel",
)  # fmt: skip
"""BODY_25 in OpenPose's order; left and right are the person's."""

NOSE, NECK, MID_HIP = 0, 1, 8

LIMBS: tuple[tuple[int, int], ...] = (
    (17, 15), (15, 0), (0, 16), (16, 18),
    (0, 1), (1, 8), (1, 2), (2, 3), (3, 4), (1, 5), (5, 6), (6, 7),
    (8, 9), (9, 10), (10, 11), (8, 12), (12, 13), (13, 14),
    (11, 24), (11, 22), (22, 23), (14, 21), (14, 19), (19, 20),
)  # fmt: skip
"""Pairs of keypoints: head, trunk and arms, legs, feet (right, left)."""

_RIGHT_SHIN, _LEFT_SHIN = (0, 153, 153), (0, 0, 153)
COLOURS: tuple[tuple[int, int, int], ...] = (
    (153, 0, 153), (153, 0, 102), (102, 0, 153), (51, 0, 153),
    (153, 0, 51), (153, 0, 0), (153, 51, 0), (153, 102, 0), (153, 153, 0), (102, 153, 0), (51, 153, 0), (0, 153, 0),
    (0, 153, 51), (0, 153, 102), _RIGHT_SHIN, (0, 102, 153), (0, 51, 153), _LEFT_SHIN,
    *[_RIGHT_SHIN] * 3, *[_LEFT_SHIN] * 3,
)  # fmt: skip
"""RGB of each limb; a foot has the colour of its shin."""

MIRROR: NDArray[np.int64] = np.array(
    [0, 1, 5, 6, 7, 2, 3, 4, 8, 12, 13, 14, 9, 10, 11, 16, 15, 18, 17, 22, 23, 24, 19, 20, 21], dtype=np.int64
)
"""Reorders the keypoints of a mirrored image to BODY_25 order: `keypoints[MIRROR]`."""

FACE, HAND_LEFT, HAND_RIGHT = slice(25, 95), slice(95, 116), slice(116, 137)
"""Slices of the points of a whole body [137, 3]. A body without hands and face is [25, 3]."""

WHOLE_MIRROR: NDArray[np.int64] = np.concatenate([MIRROR, 25 + FACE_MIRROR, [94, 93], np.arange(116, 137), np.arange(95, 116)])
"""As MIRROR, for whole bodies."""

_FINGERS = tuple(tuple((0 if joint == 0 else first + joint - 1, first + joint) for joint in range(4)) for first in range(1, 21, 4))
_FINGER_COLOURS = ((204, 0, 0), (163, 204, 0), (0, 204, 82), (0, 82, 204), (163, 0, 204))
_FACE_PARTS = (
    range(0, 17), range(17, 22), range(22, 27), range(27, 31), range(31, 36), (*range(36, 42), 36), (*range(42, 48), 42),
    (*range(48, 60), 48), (*range(60, 68), 60),
)  # fmt: skip
_FACE_COLOUR = (255, 255, 255)
MIN_FACE_CONFIDENCE = 0.1

MIN_CONFIDENCE = 0.01
"""Points with a smaller confidence count as missing."""
DROPPED_JOINTS = 0.05
"""Share of the joints that are left out in training (vid2vid drops limbs at random)."""
JITTER = 0.004
"""Standard deviation of the noise that training adds to joints, in heights of the person."""
_HEIGHT_IN_TRUNKS = 3.4
_SUBPIXEL_BITS = 4


def whole_bodies(arrays: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
    """The arrays of a layer `poses` as one array: [T, P, 137, 3] if it has hands or faces, else [T, P, 25, 3]."""
    keypoints = arrays["keypoints"]
    if not any(name in arrays for name in POINT_COUNTS if name != "keypoints"):
        return keypoints
    empty = {name: np.zeros((*keypoints.shape[:2], count, 3), np.float32) for name, count in POINT_COUNTS.items()}
    return np.concatenate([arrays.get(name, empty[name]) for name in POINT_COUNTS], axis=2)


def with_hands(body: NDArray[np.float32]) -> NDArray[np.float32]:
    """The 25 points of a body [25 or 137, 3], then the left and the right hand, [67, 3]; hands that the body lacks are zeros."""
    hands = body[HAND_LEFT.start :] if len(body) > len(NAMES) else np.zeros((42, 3), np.float32)
    return np.concatenate([body[: len(NAMES)], hands])


def swap_sides(bodies: NDArray[np.float32]) -> NDArray[np.float32]:
    """Bodies [..., 25 or 137, 3] with left and right points exchanged, as a mirrored image needs; coordinates stay."""
    return bodies[..., WHOLE_MIRROR if bodies.shape[-2] > len(NAMES) else MIRROR, :]


def person_height(keypoints: NDArray[np.float32]) -> float:
    """Height in pixels that the person with keypoints [25, 3] would have upright and entirely in the image; 0 without keypoints.

    It is estimated as the larger of the height of the visible keypoints and a multiple of the trunk's length, so that it does not become
    smaller when the legs leave the image.
    """
    keypoints = keypoints[: len(NAMES)]
    seen = keypoints[keypoints[:, 2] > MIN_CONFIDENCE]
    if not len(seen):
        return 0.0
    trunk = 0.0
    if min(keypoints[NECK, 2], keypoints[MID_HIP, 2]) > MIN_CONFIDENCE:
        trunk = float(np.linalg.norm(keypoints[NECK, :2] - keypoints[MID_HIP, :2]))
    return max(float(np.ptp(seen[:, 1])), _HEIGHT_IN_TRUNKS * trunk)


def draw_pose(keypoints: NDArray[np.float32], height: int, width: int) -> NDArray[np.uint8]:
    """Skeletons of all persons, uint8 RGB [height, width, 3] on black. keypoints [P, 25, 3], or [P, 137, 3] with hands and faces.

    As in few-shot vid2vid, the width of strokes is a 75th of the person's height, and each end is a disc of twice this diameter. Where
    limbs cross, the pixels are the mean of both colours.
    """
    canvas = np.zeros((height, width, 3), np.uint8)
    for person in keypoints:
        height_of_person = person_height(person)
        half_width = max(1.0, height_of_person / 150)
        for (start, end), colour in zip(LIMBS, COLOURS, strict=True):
            if min(person[start, 2], person[end, 2]) > MIN_CONFIDENCE:
                _draw_limb(canvas, person[[start, end], :2], half_width, colour)
        if len(person) > len(NAMES):
            _draw_hands_and_face(canvas, person, max(0.5, height_of_person / 450))
    return canvas


def _draw_hands_and_face(canvas: NDArray[np.uint8], person: NDArray[np.float32], half_width: float) -> None:
    """Draw each finger in its own colour and the face in white, in place."""
    for hand in (person[HAND_LEFT], person[HAND_RIGHT]):
        for finger, colour in zip(_FINGERS, _FINGER_COLOURS, strict=True):
            for start, end in finger:
                if min(hand[start, 2], hand[end, 2]) > MIN_CONFIDENCE:
                    _draw_limb(canvas, hand[[start, end], :2], half_width, colour)
    face = person[FACE]
    for part in _FACE_PARTS:
        for start, end in itertools.pairwise(part):
            if min(face[start, 2], face[end, 2]) > MIN_FACE_CONFIDENCE:
                _draw_limb(canvas, face[[start, end], :2], half_width, _FACE_COLOUR)


def add_noise(keypoints: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Keypoints [P, 25 or 137, 3] as from a worse detector: a few are missing, and the others have random errors."""
    noisy: NDArray[np.float32] = keypoints.copy()
    for person in noisy:
        person[:, :2] += rng.normal(size=(len(person), 2)) * JITTER * person_height(person)
    noisy[(rng.random(noisy.shape[:2]) < DROPPED_JOINTS) | (keypoints[..., 2] <= 0)] = 0
    return noisy


def _draw_limb(canvas: NDArray[np.uint8], ends: NDArray[np.float32], half_width: float, colour: tuple[int, int, int]) -> None:
    """Draw a line between ends [2, 2] with discs at its ends, in place, blended with earlier strokes of the canvas."""
    limit = 8 * max(canvas.shape)  # points far outside would overflow the fixed-point coordinates
    ends = np.clip(ends, -limit, limit)
    border = 2 * half_width + 2
    left, top = np.maximum(np.floor(ends.min(0) - border), 0).astype(int)
    right, bottom = np.ceil(ends.max(0) + border).astype(int) + 1
    region = canvas[top:bottom, left:right] if min(right, bottom) > 0 else canvas[:0]
    if region.size == 0:
        return
    drawn = region.copy()
    _draw_line(drawn, ends - (left, top), half_width, colour)
    mixed = cv2.addWeighted(region, 0.5, drawn, 0.5, 0)
    cv2.copyTo(mixed, cv2.cvtColor(region, cv2.COLOR_RGB2GRAY), drawn)  # only where the canvas was not black
    region[:] = drawn


def _draw_line(canvas: NDArray[np.uint8], ends: NDArray[np.float32], half_width: float, colour: tuple[int, int, int]) -> None:
    scale = 1 << _SUBPIXEL_BITS
    start, end = (tuple(int(value) for value in np.round(point * scale)) for point in ends)
    cv2.line(canvas, start, end, colour, max(1, round(2 * half_width)), cv2.LINE_AA, _SUBPIXEL_BITS)
    for centre in (start, end):
        cv2.circle(canvas, centre, round(2 * half_width * scale), colour, cv2.FILLED, cv2.LINE_AA, _SUBPIXEL_BITS)
