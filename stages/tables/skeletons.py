"""Skeletons: conversion of other tools' keypoints to BODY_25, with OpenPose's hands and face if they are present.

Points are [..., N, 3] float32: x, y in pixels, confidence, which is 0 for an absent point. Sources: OpenPose's output format (BODY_25, COCO
with 18 points) and its training repository (BODY_25B), the COCO keypoint format, COCO-WholeBody's data format, MediaPipe's pose landmarker.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float32]

POINT_COUNTS: Mapping[str, int] = {"keypoints": 25, "face": 70, "hand_left": 21, "hand_right": 21}
"""Array of a layer `poses` -> its number of points: BODY_25, OpenPose's face (iBUG-68 and two pupils), OpenPose's hands."""


def boxes_of(points: Points) -> NDArray[np.float32]:
    """Points [..., K, 3] -> the boxes [..., 4] (x0, y0, x1, y1) around the points with confidence > 0; zeros if there are none."""
    seen = points[..., 2:] > 0
    low = np.where(seen, points[..., :2], np.inf).min(-2)
    high = np.where(seen, points[..., :2], -np.inf).max(-2)
    return np.where(seen.any(-2), np.concatenate([low, high], -1), 0).astype(np.float32)


@dataclass(frozen=True)
class Skeleton:
    """The positions of BODY_25, face and hands among the `count` points of a tool."""

    name: str
    count: int
    body: tuple[tuple[int, ...], ...]
    """For each point of BODY_25 the points that are averaged; empty if the tool has no such point."""
    face: range = range(0)
    hand_left: range = range(0)
    hand_right: range = range(0)


_ABSENT: tuple[tuple[int, ...], ...] = ((),) * 6
_TOES_AND_HEELS = tuple((point,) for point in range(17, 23))
_COCO = (
    (0,), (5, 6), (6,), (8,), (10,), (5,), (7,), (9,), (11, 12), (12,), (14,), (16,), (11,), (13,), (15,), (2,), (1,), (4,), (3,),
)  # fmt: skip
_MEDIAPIPE = (
    (0,), (11, 12), (12,), (14,), (16,), (11,), (13,), (15,), (23, 24),
    (24,), (26,), (28,), (23,), (25,), (27,), (5,), (2,), (8,), (7,),
    (31,), (), (29,), (32,), (), (30,),
)  # fmt: skip
_OPENPOSE_18 = (*((point,) for point in range(8)), (8, 11), *((point,) for point in range(8, 18)))

BODY_25 = Skeleton("BODY_25", 25, tuple((point,) for point in range(25)))
BODY_25B = Skeleton("BODY_25B", 25, (*_COCO, *((point,) for point in range(19, 25))))
"""A later skeleton of OpenPose: COCO's 17 points, the upper neck, the top of the head, and the feet."""
OPENPOSE_18 = Skeleton("openpose-18", 18, (*_OPENPOSE_18, *_ABSENT))
COCO_17 = Skeleton("coco-17", 17, (*_COCO, *_ABSENT))
MEDIAPIPE_33 = Skeleton("mediapipe-33", 33, _MEDIAPIPE)
"""MediaPipe has no small toes."""
COCO_WHOLEBODY = Skeleton("coco-wholebody-133", 133, (*_COCO, *_TOES_AND_HEELS), range(23, 91), range(91, 112), range(112, 133))
"""17 points of the body, 6 of the feet, 68 of the face, 21 of the left hand and 21 of the right hand."""

SKELETONS: Mapping[str, Skeleton] = {known.name: known for known in (BODY_25, BODY_25B, OPENPOSE_18, COCO_17, MEDIAPIPE_33, COCO_WHOLEBODY)}

COCO_17_IN_BODY_25 = tuple(COCO_17.body.index((point,)) for point in range(17))
"""`keypoints[..., COCO_17_IN_BODY_25, :]` of BODY_25 are COCO's 17 points."""
FEET_IN_BODY_25 = slice(19, 25)
"""COCO-WholeBody's six points of the feet, in its order."""


def convert_to_body_25(points: Points, skeleton: Skeleton) -> dict[str, Points]:
    """points [..., skeleton.count, 3] -> arrays of a layer `poses`: keypoints [..., 25, 3], and if the skeleton has them
    face [..., 70, 3] (without pupils for a face of 68 points), hand_left and hand_right [..., 21, 3].

    An absent point is all zeros. A mean, such as the neck between the shoulders, has the lowest confidence of its points, so it is
    absent when one of them is.
    """
    if points.shape[-2:] != (skeleton.count, 3):
        raise ValueError(f"{skeleton.name} has {skeleton.count} points of x, y, confidence; these are {points.shape}")
    arrays = {"keypoints": np.zeros((*points.shape[:-2], 25, 3), np.float32)}
    for index, parts in enumerate(skeleton.body):
        if parts:
            arrays["keypoints"][..., index, :2] = points[..., parts, :2].mean(axis=-2)
            arrays["keypoints"][..., index, 2] = points[..., parts, 2].min(axis=-1)
    for name, indices in (("face", skeleton.face), ("hand_left", skeleton.hand_left), ("hand_right", skeleton.hand_right)):
        if indices:
            arrays[name] = np.zeros((*points.shape[:-2], POINT_COUNTS[name], 3), np.float32)
            arrays[name][..., : len(indices), :] = points[..., indices, :]
    return {name: np.where(array[..., 2:] > 0, array, np.float32(0)) for name, array in arrays.items()}


def from_mediapipe(landmarks: Points) -> Points:
    """MediaPipe's 33 points [..., 33, 3] (x, y, confidence) -> BODY_25 [..., 25, 3].

    The confidence of a mean is the lowest confidence of its points.
    """
    return convert_to_body_25(landmarks, MEDIAPIPE_33)["keypoints"]
