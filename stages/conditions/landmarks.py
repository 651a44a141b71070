"""Draws 68 landmarks (iBUG order) and irises of faces: the sketch and the semantic image s_t. Also mirrors them.

Points are [..., 68, 3] float32: x, y in pixels (pixel centres at integers), confidence in [0, 1]. A face is not drawn if the confidence
of all its points is 0.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

LANDMARKS = 68
IRIS_POINTS = 10
"""Five points of each iris: the centre, then the right, upper, left and lower end. The eye at the left of the image comes first."""
SEMANTIC_CHANNELS = 7
"""One channel for the sketch and one distance map for each group of `GROUPS`."""
IRIS_CHANNELS = 1
"""A channel for the drawn irises, which is added to s_t of models that see the gaze."""

CURVES: dict[str, tuple[tuple[int, ...], bool]] = {
    # name: (landmarks in order, closed)
    "contour": (tuple(range(17)), False),
    "right brow": ((17, 18, 19, 20, 21), False),
    "left brow": ((22, 23, 24, 25, 26), False),
    "nose ridge": ((27, 28, 29, 30), False),
    "nose base": ((31, 32, 33, 34, 35), False),
    "right eye": ((36, 37, 38, 39, 40, 41), True),
    "left eye": ((42, 43, 44, 45, 46, 47), True),
    "outer lips": (tuple(range(48, 60)), True),
    "inner lips": (tuple(range(60, 68)), True),
}
GROUPS: tuple[tuple[str, ...], ...] = (
    ("contour", "forehead"),
    ("right brow", "left brow"),
    ("nose ridge", "nose base"),
    ("right eye", "left eye"),
    ("outer lips",),
    ("inner lips",),
)
RIGHT_EYE, LEFT_EYE = slice(36, 42), slice(42, 48)
MIRROR = np.array(
    [*range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, 35, 34, 33, 32, 31, 45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,
     54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65]
)  # fmt: skip
"""Reorders the landmarks of a mirrored image to iBUG order: `points[MIRROR]`."""

MIRROR_IRISES = np.array([5, 8, 7, 6, 9, 0, 3, 2, 1, 4])
"""As MIRROR, for the points of the irises."""

_FOREHEAD_HEIGHT = 2 / 3
_SUBPIXEL_BITS = 4
"""Fractional bits of fixed-point coordinates in OpenCV's drawing functions."""
_SAMPLES_PER_SPAN = 4
"""Number of points of a drawn curve from one landmark to the next."""


def eye_distance(points: np.ndarray) -> np.ndarray:
    """Distance between the two eye centres in pixels; points [..., 68, 2 or 3] -> [...]."""
    xy = points[..., :2]
    distances: np.ndarray = np.linalg.norm(xy[..., RIGHT_EYE, :].mean(-2) - xy[..., LEFT_EYE, :].mean(-2), axis=-1)
    return distances


def mirror(points: np.ndarray, width: int) -> np.ndarray:
    """The landmarks of the image flipped left to right. points [..., 68, 3]."""
    flipped: np.ndarray = points[..., MIRROR, :].copy()
    flipped[..., 0] = np.where(flipped[..., 2] > 0, width - 1 - flipped[..., 0], 0)
    return flipped


def stroke_width(points: np.ndarray) -> int:
    """Width of a stroke in pixels: a 128th of the width of the face, rounded, and at least 1. points [68, 2 or 3]."""
    return max(1, round(2 * float(np.ptp(points[:17, 0])) / 256))


def forehead(contour: np.ndarray) -> np.ndarray:
    """The upper contour of a face [17, 2]: its lower contour, mirrored at the line through the ends and flattened to 2/3.

    As in vid2vid, section 4.
    """
    start, end = contour[0], contour[16]
    axis = (end - start) / max(float(np.linalg.norm(end - start)), 1e-6)
    normal = np.array([-axis[1], axis[0]])
    height = (contour - start) @ normal
    return contour - np.outer(height * (1 + _FOREHEAD_HEIGHT), normal)


def face_curves(points: np.ndarray) -> dict[str, np.ndarray]:
    """Smooth curves [S, 2] through the landmarks of one face [68, 2 or 3]."""
    xy = points[:, :2].astype(np.float64)
    curves = {name: _spline(len(indices), closed) @ xy[list(indices)] for name, (indices, closed) in CURVES.items()}
    curves["forehead"] = _spline(17, False) @ forehead(xy[:17])
    return curves


def draw_sketch(points: np.ndarray, height: int, width: int) -> np.ndarray:
    """Sketch of all faces, uint8 [height, width], 255 on strokes. points [P, 68, 3]."""
    canvas = np.zeros((height, width), np.uint8)
    for face in points:
        if face[:, 2].any():
            _draw_curves(canvas, list(face_curves(face).values()), stroke_width(face), antialias=True)
    return canvas


def semantic_image(points: np.ndarray, height: int, width: int) -> np.ndarray:
    """s_t of all faces, float32 [7, height, width] in [0, 1]: the sketch, then a distance map for each group of `GROUPS`.

    points [P, 68, 3]. A distance map is 1 on the curves of the group and falls to 0 at a distance of an eighth of the height. This
    distance is relative, so that the map of a scaled image is the scaled map.
    """
    maps = np.zeros((SEMANTIC_CHANNELS, height, width), np.float32)
    faces = [face_curves(face) for face in points if face[:, 2].any()]
    if not faces:
        return maps
    maps[0] = draw_sketch(points, height, width) / np.float32(255)
    for channel, names in enumerate(GROUPS, start=1):
        _draw_distance_map([curves[name] for curves in faces for name in names], maps[channel])
    return maps


def draw_irises(points: np.ndarray, irises: np.ndarray, height: int, width: int) -> np.ndarray:
    """The visible parts of all irises, uint8 [height, width], 255 inside. points [P, 68, 3], irises [P, 10, 3]."""
    canvas = np.zeros((height, width), np.uint8)
    for face, pair in zip(points, irises, strict=True):
        for eye, iris in zip((face[RIGHT_EYE], face[LEFT_EYE]), (pair[:5], pair[5:]), strict=True):
            if (eye[:, 2] > 0).all() and (iris[:, 2] > 0).all():
                _draw_iris(canvas, eye[:, :2].astype(np.float64), iris[:, :2].astype(np.float64))
    return canvas


def _draw_iris(canvas: np.ndarray, eye: np.ndarray, iris: np.ndarray) -> None:
    """Draw an iris [5, 2] (centre, then the ends) as a disc, clipped to the opening of the eye [6, 2], in place."""
    scale, limit = 1 << _SUBPIXEL_BITS, 8 * max(canvas.shape)
    disc, opening = np.zeros_like(canvas), np.zeros_like(canvas)
    centre = np.round(np.clip(iris[0], -limit, limit) * scale).astype(int)
    radius = np.clip(np.linalg.norm(iris[1:] - iris[0], axis=1).mean(), 0.5, limit)
    cv2.circle(disc, (int(centre[0]), int(centre[1])), round(radius * scale), 255, cv2.FILLED, cv2.LINE_AA, _SUBPIXEL_BITS)
    lids = np.round(np.clip(_spline(6, True) @ eye, -limit, limit) * scale).astype(np.int32)
    cv2.fillPoly(opening, [lids], 255, cv2.LINE_AA, _SUBPIXEL_BITS)
    np.maximum(canvas, np.minimum(disc, opening), out=canvas)


def _draw_distance_map(curves: list[np.ndarray], canvas: np.ndarray) -> None:
    """Draw max(0, 1 - 8 distance / height) into `canvas` [height, width] of zeros; distance: to the nearest of the curves [S, 2]."""
    height, width = canvas.shape
    strokes = np.zeros((height, width), np.uint8)
    _draw_curves(strokes, curves, 1, antialias=False)
    x, y, w, h = cv2.boundingRect(strokes)
    if not w:
        return
    margin = height // 8 + 2
    window = np.s_[max(y - margin, 0) : y + h + margin, max(x - margin, 0) : x + w + margin]  # the map is 0 outside
    distance = cv2.distanceTransform(255 - strokes[window], cv2.DIST_L2, 5)
    canvas[window] = np.clip(1 - distance * (8 / height), 0, 1)


def _draw_curves(canvas: np.ndarray, curves: list[np.ndarray], thickness: int, *, antialias: bool) -> None:
    scale = 1 << _SUBPIXEL_BITS
    limit = 8 * max(canvas.shape)  # points far outside would overflow the fixed-point coordinates
    lines = [np.round(np.clip(curve, -limit, limit) * scale).astype(np.int32) for curve in curves]
    cv2.polylines(canvas, lines, False, 255, thickness, cv2.LINE_AA if antialias else cv2.LINE_8, _SUBPIXEL_BITS)


@lru_cache
def _spline(count: int, closed: bool) -> np.ndarray:
    """Matrix [S, count] that maps `count` control points to samples of the cubic spline through them, which is linear in the points."""
    control = np.eye(count)
    previous, following = np.roll(control, 1, 0), np.roll(control, -1, 0)
    system, right_side = 4 * control + previous + following, 6 * (previous - 2 * control + following)
    if not closed:  # a natural spline, without curvature at the ends
        system[[0, -1]], right_side[[0, -1]] = control[[0, -1]], 0
    curvature = np.linalg.solve(system, right_side)
    spans = count if closed else count - 1
    parameters = np.linspace(0, spans, _SAMPLES_PER_SPAN * spans + 1)
    start = np.minimum(parameters.astype(int), spans - 1)
    t, end = (parameters - start)[:, None], (start + 1) % count
    bend = ((1 - t) ** 3 - (1 - t)) * curvature[start] + (t**3 - t) * curvature[end]
    points: np.ndarray = (1 - t) * control[start] + t * control[end] + bend / 6
    return points
