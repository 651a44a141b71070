"""Rules that select people whose poses would make a data set worse, so that they are removed. The frames in which a rule applies are
counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.conditions.poses import NAMES
from stages.tables.skeletons import boxes_of

RULES = ("static", "small", "truncated", "overlapping")

STATIC_SECONDS = 0.5
STATIC_SHARE = 0.01
"""People who move less than this share of their height in half a second stand still. Few-shot vid2vid removes those who move less than 5 of
512 pixels."""
SMALL_SHARE = 0.25
"""People whose height is below this share of the image's height are small."""
HEAD = tuple(NAMES.index(name) for name in ("nose", "right eye", "left eye", "right ear", "left ear"))
FEET = tuple(NAMES.index(name) for name in ("right ankle", "left ankle", "right heel", "left heel", "right big toe", "left big toe"))
OVERLAP_SHARE = 0.05
"""People overlap if they share more than this part of a person's width."""
SAME_PERSON = 0.6
"""Boxes whose intersection over union is larger belong to the same person: detectors report some people twice."""


@dataclass(frozen=True)
class ClipPoses:
    """The poses of a clip: keypoints [T, P, 25, 3] of the chosen people; all_boxes: the boxes [N, 4] of all people in each frame; height:
    that of the image in pixels."""

    keypoints: NDArray[np.float32]
    all_boxes: Sequence[NDArray[np.float32]]
    fps: float
    height: int


def apply(rules: Sequence[str], poses: ClipPoses) -> tuple[NDArray[np.bool_], dict[str, int]]:
    """(which people the rules remove, [T, P]; rule -> number of frames in which it applies)."""
    present = (poses.keypoints[..., 2] > 0).any(-1)
    removed = np.zeros_like(present)
    counts = {}
    for rule in rules:
        selected = _SELECTORS[rule](poses) & present
        counts[rule] = int(selected.any(1).sum())
        removed |= selected
    return removed, counts


def _heights(poses: ClipPoses) -> NDArray[np.float32]:
    """Height of the visible part of each person, [T, P] in pixels."""
    y = np.where(poses.keypoints[..., 2] > 0, poses.keypoints[..., 1], np.nan)
    with np.errstate(all="ignore"):
        low, high = np.fmin.reduce(y, axis=-1), np.fmax.reduce(y, axis=-1)
    return np.asarray(np.nan_to_num(high - low), np.float32)


def _static(poses: ClipPoses) -> NDArray[np.bool_]:
    """Where a person stands still: half a second or more in which no visible point moves by STATIC_SHARE of the height."""
    duration = max(1, round(STATIC_SECONDS * poses.fps))
    frames, persons = poses.keypoints.shape[:2]
    still = np.zeros((frames, persons), bool)
    heights = _heights(poses)
    for person in range(persons):
        for start in range(frames - duration):
            run = poses.keypoints[start : start + duration + 1, person]
            visible = (run[..., 2] > 0).all(0)
            height = float(heights[start, person])
            if visible.any() and height > 0 and float(np.ptp(run[:, visible, :2], axis=0).max()) < STATIC_SHARE * height:
                still[start : start + duration + 1, person] = True
    return still


def _small(poses: ClipPoses) -> NDArray[np.bool_]:
    return np.asarray(_heights(poses) < SMALL_SHARE * poses.height)


def _truncated(poses: ClipPoses) -> NDArray[np.bool_]:
    """Where no point of the head or no point of the feet is visible."""
    confidence = poses.keypoints[..., 2]
    return np.asarray(~((confidence[..., HEAD] > 0).any(-1) & (confidence[..., FEET] > 0).any(-1)))


def _overlapping(poses: ClipPoses) -> NDArray[np.bool_]:
    overlapping = np.zeros(poses.keypoints.shape[:2], bool)
    for index, others in enumerate(poses.all_boxes):
        for person, points in enumerate(poses.keypoints[index]):
            box = boxes_of(points)
            width = max(float(box[2] - box[0]), 1.0)
            shared = np.minimum(others[:, 2], box[2]) - np.maximum(others[:, 0], box[0])
            overlapping[index, person] = ((shared > OVERLAP_SHARE * width) & (_intersection_over_union(others, box) < SAME_PERSON)).any()
    return overlapping


def _intersection_over_union(others: NDArray[np.float32], box: NDArray[np.float32]) -> NDArray[np.float32]:
    """Intersection over union of each of `others` [N, 4] with `box` [4]."""
    sides = np.maximum(np.minimum(others[:, 2:], box[2:]) - np.maximum(others[:, :2], box[:2]), 0)
    shared = sides.prod(1)
    areas = (others[:, 2:] - others[:, :2]).prod(1) + (box[2:] - box[:2]).prod()
    return np.asarray(shared / np.maximum(areas - shared, 1e-6), np.float32)


_SELECTORS: dict[str, Callable[[ClipPoses], NDArray[np.bool_]]] = {
    "static": _static,
    "small": _small,
    "truncated": _truncated,
    "overlapping": _overlapping,
}
