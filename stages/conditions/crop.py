"""Crops that hold the whole head or body, move smoothly, and leave the frame only by padding; and the middle of an image."""

from __future__ import annotations

import numpy as np

from stages.conditions.poses import person_height

HEAD_IN_FACES = 2.1
"""Side of a crop in units of the face (the larger side of the landmarks' box)."""
TIGHTEST_IN_FACES = 1.6
"""A crop is made smaller rather than padded down to this side."""
RAISED_IN_FACES = 0.15
"""The head reaches further above the landmarks than below them."""
BODY_IN_PERSONS = 1.5
"""Height of a crop in units of the person's height, and at least its width in units of what he reaches sideways."""
TIGHTEST_IN_PERSONS = 1.15
MIN_PERSON = 16.0
"""Pixels that a person is high at least, though fewer of them are seen."""
JUMP_IN_FACES = 0.6
"""A face moves at most so far between two frames of one shot."""
JUMP_IN_PERSONS = 0.4
"""As JUMP_IN_FACES, in units of a person's height."""


def head_boxes(points: np.ndarray) -> np.ndarray:
    """Head squares [T, 3] (centre x, centre y, side) in pixels from landmarks [T, 68, 3]; NaN where no face is."""
    xy, seen = points[..., :2], points[..., 2].max(-1) > 0
    low, high = xy.min(1), xy.max(1)
    face = (high - low).max(-1)
    centre = (low + high) / 2
    boxes = np.stack([centre[:, 0], centre[:, 1] - RAISED_IN_FACES * face, HEAD_IN_FACES * face], -1)
    return np.where(seen[:, None], boxes, np.nan)


def smooth_crops(points: np.ndarray, width: int, height: int, fps: float) -> np.ndarray:
    """One square per frame, [T, 3] (left, top, side) in pixels, for landmarks [T, 68, 3] with at least one face.

    A head that stays within a quarter of its square gets one crop for the whole clip, so that a static background stays static;
    a moving one is followed by a crop smoothed over about a second in both directions (no lag). A crop is shifted and, down to
    `TIGHTEST_IN_FACES`, made smaller to lie inside the frame; only what is still outside must be padded.
    """
    return _inside(_steady(head_boxes(points), fps), width, height, TIGHTEST_IN_FACES / HEAD_IN_FACES)


def body_boxes(keypoints: np.ndarray, aspect: float) -> np.ndarray:
    """Crops [T, 3] (centre x, centre y, height) around bodies [T, 25, 3], `aspect` times as wide as high; NaN where nobody is."""
    boxes = np.full((len(keypoints), 3), np.nan)
    for box, body in zip(boxes, keypoints, strict=True):
        seen = body[body[:, 2] > 0, :2]
        if len(seen):
            low, high = seen.min(0), seen.max(0)
            wide = high[0] - low[0]
            box[:] = *(low + high) / 2, BODY_IN_PERSONS * max(person_height(body), wide / aspect, MIN_PERSON)
    return boxes


def smooth_body_crops(keypoints: np.ndarray, width: int, height: int, fps: float, aspect: float) -> np.ndarray:
    """One crop per frame, [T, 3] (left, top, height) in pixels, for bodies [T, 25, 3] of whom one at least is seen; as `smooth_crops`."""
    return _inside(_steady(body_boxes(keypoints, aspect), fps), width, height, TIGHTEST_IN_PERSONS / BODY_IN_PERSONS, aspect)


def centre_crop(width: int, height: int, aspect: float) -> np.ndarray:
    """The largest crop (left, top, height) of a width x height image, `aspect` times as wide as high, around its middle."""
    side = min(height, width / aspect)
    return np.array([(width - side * aspect) / 2, (height - side) / 2, side])


def outside(crop: np.ndarray, width: int, height: int) -> float:
    """Share of the crop's area that lies outside a width x height frame, in [0, 1]."""
    left, top, side = crop
    inner = max(0, min(left + side, width) - max(left, 0)) * max(0, min(top + side, height) - max(top, 0))
    return float(1 - inner / side**2)


def _steady(boxes: np.ndarray, fps: float) -> np.ndarray:
    """One box for the whole clip where what is in it moves little, else boxes that follow it smoothly."""
    boxes = _fill(boxes)
    side = np.percentile(boxes[:, 2], 80)
    if np.ptp(boxes[:, :2], axis=0).max() <= side / 4 and boxes[:, 2].max() <= 1.25 * boxes[:, 2].min():
        middle = (boxes[:, :2].min(0) + boxes[:, :2].max(0)) / 2
        return np.broadcast_to([*middle, side], boxes.shape)
    return _gaussian(boxes, sigma=fps)


def _fill(boxes: np.ndarray) -> np.ndarray:
    index, seen = np.arange(len(boxes)), ~np.isnan(boxes[:, 0])
    return np.stack([np.interp(index, index[seen], column[seen]) for column in boxes.T], -1)


def _gaussian(series: np.ndarray, sigma: float) -> np.ndarray:
    from scipy.ndimage import gaussian_filter1d

    smooth: np.ndarray = gaussian_filter1d(series, sigma, axis=0, mode="nearest")
    return smooth


def _inside(boxes: np.ndarray, width: int, height: int, tightest: float, aspect: float = 1.0) -> np.ndarray:
    """Boxes [T, 3] (centre, height) shifted into the frame and made smaller down to the share `tightest`: (left, top, height).

    Centres are points, of which the middle of the first pixel is 0; left and top are borders, of which its left border is 0.
    """
    side = np.maximum(np.minimum(boxes[:, 2], min(width / aspect, height)), boxes[:, 2] * tightest)
    size = side[:, None] * [aspect, 1]
    corner = boxes[:, :2] + 0.5 - size / 2
    room = np.array([width, height]) - size
    corner = np.where(room >= 0, np.clip(corner, 0, np.maximum(room, 0)), np.clip(corner, np.minimum(room, 0), 0))
    return np.concatenate([corner, side[:, None]], -1)
