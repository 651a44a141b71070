"""The driver's face made to fit the example's: landmarks of one person that move as another's do.

"Normalize keypoints to the same as example image" (slides of few-shot vid2vid). Proportions are compared between the example and those
driving frames whose pose is nearest to it, over the whole clip; so no frame waits for another, and nothing lags.
"""

from __future__ import annotations

import numpy as np

from stages.conditions.landmarks import LANDMARKS

PARTS: tuple[tuple[slice, bool, slice], ...] = (
    # landmarks, whether their height is a proportion of the face (and not an expression), points that move along: the irises
    (slice(0, 17), True, slice(0)),
    (slice(17, 22), False, slice(0)),
    (slice(22, 27), False, slice(0)),
    (slice(27, 36), True, slice(0)),
    (slice(36, 42), False, slice(68, 73)),
    (slice(42, 48), False, slice(73, 78)),
    (slice(48, 68), False, slice(0)),
)
NEAREST_SHARE = 0.05
"""Share of the driving frames, nearest in pose to the example, that are compared with it."""
LIMIT = 1.6
"""A part is widened or narrowed by at most this factor."""


def normalise(driving: np.ndarray, example: np.ndarray, *, proportions: bool = True) -> np.ndarray:
    """driving [T, 68 or 78, 3], example [68 or 78, 3], in pixels -> driving with the example's place, size and, if asked, proportions.

    Frames without a face stay empty. Without any face the driving landmarks are returned as they are.
    """
    face = driving[:, :LANDMARKS]
    seen = face[..., 2].any(1)
    if not seen.any():
        return driving
    mean = _nearest_mean(face[seen, :, :2], example[:LANDMARKS, :2])
    target = _leaning_as(example[:LANDMARKS, :2], mean)
    scale, shift = fit(mean, target)
    moved = driving[..., :2] * scale + shift
    if proportions:
        _give_proportions(moved, mean * scale + shift, target)
    result: np.ndarray = driving.copy()
    result[..., :2] = moved
    result[~seen] = 0
    irises = result[:, LANDMARKS:]
    irises[irises[..., 2] <= 0] = 0
    return result


def _leaning_as(example: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """The example [68, 2] turned in the image around its middle until it leans as the driver does in `mean` [68, 2].

    Otherwise the tilt of its head would be taken for proportions: its eyes, one higher than the other, would leave an upright face.
    """
    middle = example.mean(0)
    return np.asarray(middle + (example - middle) @ _tilts(example, mean[None])[0].T)


def _tilts(face: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Rotations [T, 2, 2] in the image that bring a face [N, 2] nearest to others [T, N, 2], place and size apart."""
    a, b = face - face.mean(0), others - others.mean(1, keepdims=True)
    across, along = (a[:, 0] * b[..., 1] - a[:, 1] * b[..., 0]).sum(-1), (a * b).sum((1, 2))
    length = np.maximum(np.hypot(across, along), 1e-6)
    cosine, sine = along / length, across / length
    return np.stack([np.stack([cosine, -sine], -1), np.stack([sine, cosine], -1)], -2)


def _give_proportions(faces: np.ndarray, mean: np.ndarray, example: np.ndarray) -> None:
    """Change faces [T, N, 2], whose mean shape is `mean` [68, 2], in place; example [68, 2], which leans as `mean` does.

    Width and height are those of the head: a face that leans is changed along its own axes.
    """
    tilts, middles = _tilts(mean, faces[:, :LANDMARKS]), faces[:, :LANDMARKS].mean(1, keepdims=True)
    faces[:] = (faces - middles) @ tilts  # upright
    for part, rigid, along in PARTS:
        ratio = _ratio(mean[part], example[part], rigid)
        centre = faces[:, part].mean(1, keepdims=True)
        offset = example[part].mean(0) - mean[part].mean(0)
        for points in (part, along):
            faces[:, points] = centre + offset + (faces[:, points] - centre) * ratio
    faces[:] = faces @ tilts.transpose(0, 2, 1) + middles


def nearest(driving: np.ndarray, example: np.ndarray) -> np.ndarray:
    """Indices of the faces driving [T, 68, 2], ordered by the distance of their shapes from the example's [68, 2]; place and size apart."""
    return np.argsort(_distances(driving, example), kind="stable")


def _distances(driving: np.ndarray, example: np.ndarray) -> np.ndarray:
    return np.asarray(np.square(_standard(driving) - _standard(example[None])[0]).sum((1, 2)))


def nearest_weights(driving: np.ndarray, example: np.ndarray) -> np.ndarray:
    """Weights [T], with the sum 1, of the driving faces [T, 68, 2] in the mean of those that are most like the example [68, 2].

    How faces lean in the image does not count: in a photograph that was tilted the head leans further than any driver's.
    """
    leaning = (driving - driving.mean(1, keepdims=True)) @ _tilts(example, driving)
    chosen, weights = _weighted(leaning, example)
    every = np.zeros(len(driving))
    every[chosen] = weights
    return every


def _nearest_mean(driving: np.ndarray, example: np.ndarray) -> np.ndarray:
    """Mean shape [68, 2] of the driving frames that are most like the example, apart from place and size."""
    chosen, weights = _weighted(driving, example)
    return np.asarray(np.einsum("t,tnc->nc", weights, driving[chosen]))


def _weighted(driving: np.ndarray, example: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the driving frames that are most like the example, and their weights, whose sum is 1.

    A frame weighs the less the farther it is from the example than the nearest one is. Where the example is a frame of this very video,
    that frame alone counts, and the driver keeps the own proportions.
    """
    distance = _distances(driving, example)
    chosen = nearest(driving, example)[: max(1, round(NEAREST_SHARE * len(driving)))]
    least = distance[chosen[0]]
    weights = np.exp((least - distance[chosen]) / max(least, 1e-12))
    return chosen, weights / weights.sum()


def _standard(shapes: np.ndarray) -> np.ndarray:
    centred = shapes - shapes.mean(1, keepdims=True)
    standard: np.ndarray = centred / np.maximum(np.linalg.norm(centred, axis=(1, 2), keepdims=True), 1e-6)
    return standard


def fit(source: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray]:
    """Scale and shift that bring source [N, 2] nearest to target; no rotation, for the tilt of a head is the driver's own."""
    a, b = source - source.mean(0), target - target.mean(0)
    scale = float((a * b).sum() / max((a * a).sum(), 1e-6))
    scale = scale if scale > 0 else 1.0
    return scale, target.mean(0) - scale * source.mean(0)


def _ratio(mean: np.ndarray, example: np.ndarray, rigid: bool) -> np.ndarray:
    """How many times wider and higher the example's part is; [2]. A part whose height is an expression keeps its shape."""
    wide, high = np.ptp(example, axis=0) / np.maximum(np.ptp(mean, axis=0), 1e-6)
    ratios: np.ndarray = np.clip([wide, high if rigid else wide], 1 / LIMIT, LIMIT)
    return ratios
