"""Square crops that hold the whole head, move smoothly, and leave the frame only by padding."""

from __future__ import annotations

import numpy as np

HEAD_IN_FACES = 2.1
"""Side of a crop in units of the face (the larger side of the landmarks' box)."""
TIGHTEST_IN_FACES = 1.6
"""A crop is made smaller rather than padded down to this side."""
RAISED_IN_FACES = 0.15
"""The head reaches further above the landmarks than below them."""
JUMP_IN_FACES = 0.6
"""A face moves at most so far between two frames of one shot."""


def head_boxes(points: np.ndarray) -> np.ndarray:
    """Head squares [T, 3] (centre x, centre y, side) in pixels from landmarks [T, 68, 3]; NaN where no face is."""
    xy, seen = points[..., :2], points[..., 2].max(-1) > 0
    low, high = xy.min(1), xy.max(1)
    face = (high - low).max(-1)
    centre = (low + high) / 2
    boxes = np.stack([centre[:, 0], centre[:, 1] - RAISED_IN_FACES * face, HEAD_IN_FACES * face], -1)
    return np.where(seen[:, None], boxes, np.nan)


def smooth_crops(points: np.ndarray, width: int, height: int, fps: float) -> np.ndarray:
    """One crop per frame, [T, 3] (left, top, side) in pixels, for landmarks [T, 68, 3] with at least one face.

    A head that stays within a quarter of its square gets one crop for the whole clip, so that a static background stays static;
    a moving one is followed by a crop smoothed over about a second in both directions (no lag). A crop is shifted and, down to
    `TIGHTEST_IN_FACES`, made smaller to lie inside the frame; only what is still outside must be padded.
    """
    boxes = _fill(head_boxes(points))
    side = np.percentile(boxes[:, 2], 80)
    if np.ptp(boxes[:, :2], axis=0).max() <= side / 4 and boxes[:, 2].max() <= 1.25 * boxes[:, 2].min():
        middle = (boxes[:, :2].min(0) + boxes[:, :2].max(0)) / 2
        boxes = np.broadcast_to([*middle, side], boxes.shape)
    else:
        boxes = _gaussian(boxes, sigma=fps)
    return _inside(boxes, width, height)


def outside(crop: np.ndarray, width: int, height: int) -> float:
    """Share of the crop's area that lies outside a width x height frame, in [0, 1]."""
    left, top, side = crop
    inner = max(0, min(left + side, width) - max(left, 0)) * max(0, min(top + side, height) - max(top, 0))
    return float(1 - inner / side**2)


def _fill(boxes: np.ndarray) -> np.ndarray:
    index, seen = np.arange(len(boxes)), ~np.isnan(boxes[:, 0])
    return np.stack([np.interp(index, index[seen], column[seen]) for column in boxes.T], -1)


def _gaussian(series: np.ndarray, sigma: float) -> np.ndarray:
    from scipy.ndimage import gaussian_filter1d

    return gaussian_filter1d(series, sigma, axis=0, mode="nearest")


def _inside(boxes: np.ndarray, width: int, height: int) -> np.ndarray:
    least = boxes[:, 2] * (TIGHTEST_IN_FACES / HEAD_IN_FACES)
    side = np.maximum(np.minimum(boxes[:, 2], min(width, height)), least)
    corner = boxes[:, :2] - side[:, None] / 2
    room = np.array([width, height]) - side[:, None]
    corner = np.where(room >= 0, np.clip(corner, 0, np.maximum(room, 0)), np.clip(corner, np.minimum(room, 0), 0))
    return np.concatenate([corner, side[:, None]], -1)
