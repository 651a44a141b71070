"""Crops that contain the whole head or body and move smoothly, and centre crops. What lies outside the frame is padded."""

from __future__ import annotations

import numpy as np

from stages.conditions.poses import person_height

HEAD_CROP_IN_FACES = 2.1
"""Side of a head crop, in face sizes. The size of a face is the larger side of the box of its landmarks."""
TIGHTEST_IN_FACES = 1.6
"""Smallest side of a head crop, in face sizes. Near the border of the frame, a crop is reduced down to this size to avoid padding."""
RAISED_IN_FACES = 0.15
"""How far the middle of a head crop lies above the middle of the landmarks, which do not include the hair, in face sizes."""
BODY_CROP_IN_PERSONS = 1.5
"""Height of a body crop in heights of the person; its width is at least this many times the width of the keypoints."""
TIGHTEST_IN_PERSONS = 1.15
"""Smallest height of a body crop, in heights of the person; as TIGHTEST_IN_FACES."""
MIN_PERSON = 16.0
"""A person shorter than this, in pixels, gets the crop of a person of this height."""
JUMP_IN_FACES = 0.6
"""Largest movement of a face between two frames of one shot, in face sizes."""
JUMP_IN_PERSONS = 0.4
"""As JUMP_IN_FACES, in heights of the person."""


def head_boxes(points: np.ndarray) -> np.ndarray:
    """Squares around heads [T, 3] (centre x, centre y, side) in pixels, from landmarks [T, 68, 3]; NaN for frames without a face."""
    xy, seen = points[..., :2], points[..., 2].max(-1) > 0
    low, high = xy.min(1), xy.max(1)
    face_size = (high - low).max(-1)
    centre = (low + high) / 2
    boxes = np.stack([centre[:, 0], centre[:, 1] - RAISED_IN_FACES * face_size, HEAD_CROP_IN_FACES * face_size], -1)
    return np.where(seen[:, None], boxes, np.nan)


def smooth_crops(points: np.ndarray, width: int, height: int, fps: float) -> np.ndarray:
    """One square per frame, [T, 3] (left, top, side) in pixels, for landmarks [T, 68, 3] with at least one face.

    If the centre of the head moves by at most a quarter of its square, and its size changes by at most a quarter, there is one crop for the
    whole clip, so that a static background stays static. Otherwise the crop follows the head, smoothed over about a second before and
    after each frame, without lag. A crop is shifted into the frame and, if necessary, made smaller, down to `TIGHTEST_IN_FACES`. What is
    still outside must be padded.
    """
    return _fit_into_frame(_smooth_boxes(head_boxes(points), fps), width, height, TIGHTEST_IN_FACES / HEAD_CROP_IN_FACES)


def body_boxes(keypoints: np.ndarray, aspect: float) -> np.ndarray:
    """Crops [T, 3] (centre x, centre y, height) around bodies [T, 25, 3], `aspect` times as wide as high; NaN for frames without a body."""
    boxes = np.full((len(keypoints), 3), np.nan)
    for box, body in zip(boxes, keypoints, strict=True):
        seen = body[body[:, 2] > 0, :2]
        if len(seen):
            low, high = seen.min(0), seen.max(0)
            width = high[0] - low[0]
            box[:] = *(low + high) / 2, BODY_CROP_IN_PERSONS * max(person_height(body), width / aspect, MIN_PERSON)
    return boxes


def smooth_body_crops(keypoints: np.ndarray, width: int, height: int, fps: float, aspect: float) -> np.ndarray:
    """As `smooth_crops`, for a body with keypoints [T, 25, 3] in at least one frame: [T, 3] (left, top, height) in pixels."""
    boxes = _smooth_boxes(body_boxes(keypoints, aspect), fps)
    return _fit_into_frame(boxes, width, height, TIGHTEST_IN_PERSONS / BODY_CROP_IN_PERSONS, aspect)


def centre_crop(width: int, height: int, aspect: float) -> np.ndarray:
    """The largest crop (left, top, height) of a width x height image, `aspect` times as wide as high, around its middle."""
    side = min(height, width / aspect)
    return np.array([(width - side * aspect) / 2, (height - side) / 2, side])


def share_outside(crop: np.ndarray, width: int, height: int) -> float:
    """Share in [0, 1] of the area of a square crop (left, top, side) that lies outside a width x height frame."""
    left, top, side = crop
    inner = max(0, min(left + side, width) - max(left, 0)) * max(0, min(top + side, height) - max(top, 0))
    return float(1 - inner / side**2)


def _smooth_boxes(boxes: np.ndarray, fps: float) -> np.ndarray:
    """Boxes [T, 3] without NaN: the same box in all frames if they differ little, else the boxes smoothed over time."""
    boxes = _interpolate_missing(boxes)
    side = np.percentile(boxes[:, 2], 80)
    if np.ptp(boxes[:, :2], axis=0).max() <= side / 4 and boxes[:, 2].max() <= 1.25 * boxes[:, 2].min():
        middle = (boxes[:, :2].min(0) + boxes[:, :2].max(0)) / 2
        return np.broadcast_to([*middle, side], boxes.shape)
    return _gaussian(boxes, sigma=fps)


def _interpolate_missing(boxes: np.ndarray) -> np.ndarray:
    index, seen = np.arange(len(boxes)), ~np.isnan(boxes[:, 0])
    return np.stack([np.interp(index, index[seen], column[seen]) for column in boxes.T], -1)


def _gaussian(series: np.ndarray, sigma: float) -> np.ndarray:
    from scipy.ndimage import gaussian_filter1d

    filtered: np.ndarray = gaussian_filter1d(series, sigma, axis=0, mode="nearest")
    return filtered


def _fit_into_frame(boxes: np.ndarray, width: int, height: int, min_scale: float, aspect: float = 1.0) -> np.ndarray:
    """Boxes [T, 3] (centre x, centre y, height) shifted into the frame and scaled by `min_scale` to 1, as crops (left, top, height).

    Centres are measured from the middle of the first pixel; left and top are measured from its left and upper border.
    """
    side = np.maximum(np.minimum(boxes[:, 2], min(width / aspect, height)), boxes[:, 2] * min_scale)
    size = side[:, None] * [aspect, 1]
    corner = boxes[:, :2] + 0.5 - size / 2
    room = np.array([width, height]) - size
    corner = np.where(room >= 0, np.clip(corner, 0, np.maximum(room, 0)), np.clip(corner, np.minimum(room, 0), 0))
    return np.concatenate([corner, side[:, None]], -1)
