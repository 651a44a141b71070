"""Rules that remove people from a pose layer who would degrade a data set; the frames in which each rule applies are counted."""

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
"""Motion below this share of the height in half a second counts as standing still (5 of 512 pixels in few-shot vid2vid's cleaning)."""
SMALL_SHARE = 0.25
"""People below this share of the image's height are small."""
HEAD = tuple(NAMES.index(name) for name in ("nose", "right eye", "left eye", "right ear", "left ear"))
FEET = tuple(NAMES.index(name) for name in ("right ankle", "left ankle", "right heel", "left heel", "right big toe", "left big toe"))
OVERLAP_SHARE = 0.05
"""People overlap from this share of the width on."""
SAME_PERSON = 0.6
"""Boxes with a larger overlap (intersection over union) are of the same person; detectors report some people twice."""


@dataclass(frozen=True)
class Seen:
    """A whole clip: keypoints [T, P, 25, 3] of the chosen people, and the boxes [N, 4] of all people in each frame."""

    keypoints: NDArray[np.float32]
    all_boxes: Sequence[NDArray[np.float32]]
    fps: float
    height: int


def apply(rules: Sequence[str], seen: Seen) -> tuple[NDArray[np.bool_], dict[str, int]]:
    """(which people the rules remove, [T, P]; rule -> number of frames in which it applies)."""
    present = (seen.keypoints[..., 2] > 0).any(-1)
    out = np.zeros_like(present)
    counts = {}
    for rule in rules:
        found = _FIND[rule](seen) & present
        counts[rule] = int(found.any(1).sum())
        out |= found
    return out, counts


def _heights(seen: Seen) -> NDArray[np.float32]:
    """Height of the visible part of each person, [T, P] in pixels."""
    y = np.where(seen.keypoints[..., 2] > 0, seen.keypoints[..., 1], np.nan)
    with np.errstate(all="ignore"):
        low, high = np.fmin.reduce(y, axis=-1), np.fmax.reduce(y, axis=-1)
    return np.asarray(np.nan_to_num(high - low), np.float32)


def _static(seen: Seen) -> NDArray[np.bool_]:
    """Runs of at least half a second in which no point leaves a small circle."""
    reach = max(1, round(STATIC_SECONDS * seen.fps))
    frames, persons = seen.keypoints.shape[:2]
    still = np.zeros((frames, persons), bool)
    heights = _heights(seen)
    for person in range(persons):
        for start in range(frames - reach):
            run = seen.keypoints[start : start + reach + 1, person]
            steady = (run[..., 2] > 0).all(0)
            height = float(heights[start, person])
            if steady.any() and height > 0 and float(np.ptp(run[:, steady, :2], axis=0).max()) < STATIC_SHARE * height:
                still[start : start + reach + 1, person] = True
    return still


def _small(seen: Seen) -> NDArray[np.bool_]:
    return np.asarray(_heights(seen) < SMALL_SHARE * seen.height)


def _truncated(seen: Seen) -> NDArray[np.bool_]:
    """Without a point of the head or without one of the feet."""
    confidence = seen.keypoints[..., 2]
    return np.asarray(~((confidence[..., HEAD] > 0).any(-1) & (confidence[..., FEET] > 0).any(-1)))


def _overlapping(seen: Seen) -> NDArray[np.bool_]:
    found = np.zeros(seen.keypoints.shape[:2], bool)
    for index, others in enumerate(seen.all_boxes):
        for person, points in enumerate(seen.keypoints[index]):
            box = boxes_of(points)
            width = max(float(box[2] - box[0]), 1.0)
            shared = np.minimum(others[:, 2], box[2]) - np.maximum(others[:, 0], box[0])
            found[index, person] = ((shared > OVERLAP_SHARE * width) & (_boxes_overlap(others, box) < SAME_PERSON)).any()
    return found


def _boxes_overlap(others: NDArray[np.float32], box: NDArray[np.float32]) -> NDArray[np.float32]:
    """Intersection over union of each of `others` [N, 4] with `box` [4]."""
    sides = np.maximum(np.minimum(others[:, 2:], box[2:]) - np.maximum(others[:, :2], box[:2]), 0)
    shared = sides.prod(1)
    areas = (others[:, 2:] - others[:, :2]).prod(1) + (box[2:] - box[:2]).prod()
    return np.asarray(shared / np.maximum(areas - shared, 1e-6), np.float32)


_FIND: dict[str, Callable[[Seen], NDArray[np.bool_]]] = {
    "static": _static,
    "small": _small,
    "truncated": _truncated,
    "overlapping": _overlapping,
}
