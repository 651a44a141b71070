"""Fits the driver's landmarks to the example's face: its position, size and proportions.

"Normalize keypoints to the same as example image" (slides of few-shot vid2vid). The proportions of the example are compared with those of
the driving frames of the whole clip whose pose is most like the example's. All frames are changed alike, without lag.
"""

from __future__ import annotations

import numpy as np

from stages.conditions.landmarks import LANDMARKS

PARTS: tuple[tuple[slice, bool, slice], ...] = (
    # landmarks, whether their height depends on the face and not on the expression, the points of the iris that move with them
    (slice(0, 17), True, slice(0)),
    (slice(17, 22), False, slice(0)),
    (slice(22, 27), False, slice(0)),
    (slice(27, 36), True, slice(0)),
    (slice(36, 42), False, slice(68, 73)),
    (slice(42, 48), False, slice(73, 78)),
    (slice(48, 68), False, slice(0)),
)
NEAREST_SHARE = 0.05
"""Share of the driving frames, those most like the example, that are compared with it."""
MAX_RATIO = 1.6
"""Largest factor by which a part of the face is scaled; the smallest is its inverse."""


def normalise(driving: np.ndarray, example: np.ndarray, *, proportions: bool = True, weights: np.ndarray | None = None) -> np.ndarray:
    """driving [T, 68 or 78, 3] with the position, size and, if asked, proportions of example [68 or 78, 3]; all in pixels.

    weights: for each frame with a face, its weight in the mean shape that is compared with the example; by default only the frames most
    like the example count. Frames without a face stay empty. If no frame has a face, `driving` is returned.
    """
    face = driving[:, :LANDMARKS]
    seen = face[..., 2].any(1)
    if not seen.any():
        return driving
    shapes = face[seen, :, :2]
    mean = _nearest_mean(shapes, example[:LANDMARKS, :2]) if weights is None else np.tensordot(weights, shapes, 1)
    target = _rotate_to(mean, example[:LANDMARKS, :2])
    scale, shift = fit(mean, target)
    fitted = driving[..., :2] * scale + shift
    if proportions:
        _change_proportions(fitted, mean * scale + shift, target)
    result: np.ndarray = driving.copy()
    result[..., :2] = fitted
    result[~seen] = 0
    irises = result[:, LANDMARKS:]
    irises[irises[..., 2] <= 0] = 0
    return result


def _rotate_to(mean: np.ndarray, example: np.ndarray) -> np.ndarray:
    """The example [68, 2], rotated in the image around its middle to the tilt of `mean` [68, 2], the driver's face.

    Without this, the tilt of the example's head would count as a proportion: an upright driver would get one eye higher than the other.
    """
    middle = example.mean(0)
    return np.asarray(middle + (example - middle) @ _rotations(example, mean[None])[0].T)


def _rotations(face: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Rotations [T, 2, 2] in the image that best fit a face [N, 2] to the targets [T, N, 2], apart from position and size."""
    a, b = face - face.mean(0), targets - targets.mean(1, keepdims=True)
    across, along = (a[:, 0] * b[..., 1] - a[:, 1] * b[..., 0]).sum(-1), (a * b).sum((1, 2))
    length = np.maximum(np.hypot(across, along), 1e-6)
    cosine, sine = along / length, across / length
    return np.stack([np.stack([cosine, -sine], -1), np.stack([sine, cosine], -1)], -2)


def _change_proportions(faces: np.ndarray, mean: np.ndarray, example: np.ndarray) -> None:
    """Give faces [T, N, 2] the proportions of the example [68, 2], in place.

    mean: the mean shape of the faces [68, 2], with the tilt of `example`. Widths and heights are changed along the axes of the head.
    """
    rotations, middles = _rotations(mean, faces[:, :LANDMARKS]), faces[:, :LANDMARKS].mean(1, keepdims=True)
    faces[:] = (faces - middles) @ rotations  # to the tilt of `mean`
    for part, fixed_height, iris in PARTS:
        ratio = _ratio(mean[part], example[part], fixed_height)
        centre = faces[:, part].mean(1, keepdims=True)
        offset = example[part].mean(0) - mean[part].mean(0)
        for points in (part, iris):
            faces[:, points] = centre + offset + (faces[:, points] - centre) * ratio
    faces[:] = faces @ rotations.transpose(0, 2, 1) + middles


def nearest(driving: np.ndarray, example: np.ndarray) -> np.ndarray:
    """Indices of the driving faces [T, 68, 2] in the order of their distance from the example [68, 2], apart from position and size."""
    return np.argsort(_distances(driving, example), kind="stable")


def _distances(driving: np.ndarray, example: np.ndarray) -> np.ndarray:
    return np.asarray(np.square(_standardise(driving) - _standardise(example[None])[0]).sum((1, 2)))


def nearest_weights(driving: np.ndarray, example: np.ndarray) -> np.ndarray:
    """Weights [T] of the driving faces [T, 68, 2], whose sum is 1; 0 for all but those that are most like the example [68, 2].

    The faces are compared without their rotation in the image, because a head in a tilted photograph may lean further than the driver's.
    """
    upright = (driving - driving.mean(1, keepdims=True)) @ _rotations(example, driving)
    chosen, chosen_weights = _nearest_with_weights(upright, example)
    weights = np.zeros(len(driving))
    weights[chosen] = chosen_weights
    return weights


def _nearest_mean(driving: np.ndarray, example: np.ndarray) -> np.ndarray:
    """Weighted mean [68, 2] of the driving faces [T, 68, 2] that are most like the example [68, 2]."""
    chosen, weights = _nearest_with_weights(driving, example)
    return np.asarray(np.einsum("t,tnc->nc", weights, driving[chosen]))


def _nearest_with_weights(driving: np.ndarray, example: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the driving frames that are most like the example, and their weights, whose sum is 1.

    A weight falls exponentially with the distance of a frame, relative to that of the nearest frame. If the example is a frame of the
    driving video, only this frame has a weight, and the driver's proportions do not change.
    """
    distance = _distances(driving, example)
    chosen = nearest(driving, example)[: max(1, round(NEAREST_SHARE * len(driving)))]
    least = distance[chosen[0]]
    weights = np.exp((least - distance[chosen]) / max(least, 1e-12))
    return chosen, weights / weights.sum()


def _standardise(shapes: np.ndarray) -> np.ndarray:
    """Shapes [T, N, 2] shifted to the mean 0 and scaled to the norm 1."""
    centred = shapes - shapes.mean(1, keepdims=True)
    scaled: np.ndarray = centred / np.maximum(np.linalg.norm(centred, axis=(1, 2), keepdims=True), 1e-6)
    return scaled


def fit(source: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray]:
    """Scale and shift that fit source [N, 2] to target [N, 2]. There is no rotation, because the tilt of the head comes from the driver."""
    a, b = source - source.mean(0), target - target.mean(0)
    scale = float((a * b).sum() / max((a * a).sum(), 1e-6))
    scale = scale if scale > 0 else 1.0
    return scale, target.mean(0) - scale * source.mean(0)


def _ratio(mean: np.ndarray, example: np.ndarray, fixed_height: bool) -> np.ndarray:
    """Factors [2] for the width and height of a part. If the height depends on the expression, it gets the factor of the width."""
    wider, higher = np.ptp(example, axis=0) / np.maximum(np.ptp(mean, axis=0), 1e-6)
    ratios: np.ndarray = np.clip([wider, higher if fixed_height else wider], 1 / MAX_RATIO, MAX_RATIO)
    return ratios
