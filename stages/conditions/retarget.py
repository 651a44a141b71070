"""The driver's body made to fit the example's: the example's limbs, standing where he stands, moving as the driver does.

A tall dancer can so drive a child. Lengths are compared over the whole clip, so no frame waits for another and nothing lags. In an image
limbs look shorter than they are, never longer: what is compared are the lengths that are seen at best.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stages.conditions.poses import FACE, HAND_LEFT, HAND_RIGHT, MID_HIP, MIN_CONFIDENCE, NECK

BONES: tuple[tuple[int, int], ...] = (
    (8, 1), (1, 0), (0, 15), (0, 16), (15, 17), (16, 18),
    (1, 2), (2, 3), (3, 4), (1, 5), (5, 6), (6, 7),
    (8, 9), (9, 10), (10, 11), (8, 12), (12, 13), (13, 14),
    (14, 19), (14, 20), (14, 21), (11, 22), (11, 23), (11, 24),
)  # fmt: skip
"""(parent, child) from the mid hip outwards; a parent comes before its children."""

GROUPS: tuple[tuple[tuple[int, int], ...], ...] = (
    ((8, 1),), ((1, 0),), ((0, 15), (0, 16), (15, 17), (16, 18)),
    ((1, 2), (1, 5)), ((2, 3), (5, 6)), ((3, 4), (6, 7)),
    ((8, 9), (8, 12)), ((9, 10), (12, 13)), ((10, 11), (13, 14)),
    ((14, 19), (14, 20), (14, 21), (11, 22), (11, 23), (11, 24)),
)  # fmt: skip
"""Bones that have one length: left and right."""

DETAILS = ((0, FACE), (7, HAND_LEFT), (4, HAND_RIGHT))
"""What hangs on the nose and on the wrists, and has the size of the whole."""

LEGS = ((9, 10), (12, 13), (10, 11), (13, 14))
FEET = (11, 14, 19, 20, 21, 22, 23, 24)
LARGE = (((8, 1),), ((9, 10), (12, 13)), ((10, 11), (13, 14)), ((2, 3), (5, 6)), ((3, 4), (6, 7)))
"""Groups whose lengths say how large a person is."""
BEST_SEEN = 90
"""Percentile of a bone's length over the driving clip that counts as its length."""
LIMIT = 1.35
"""A limb is made longer or shorter than the whole body by at most this factor: an example shows one pose, and that may hide a length."""

Points = NDArray[np.float32]


def retarget(driving: Points, examples: Points) -> Points:
    """driving [T, 25, 3], or [T, 137, 3] with hands and face, examples [K, 25, 3] of one person, in pixels -> as driving.

    The limbs have the examples' lengths; the ground (the lowest that feet come) and the middle of the way are where the first example
    stands; jumps and steps are scaled like the legs. Without feet in either, the middle of the trunk stays where the example's is. Points
    that are missing stay so, and without a common trunk or limb the driving points are returned as they are.
    """
    scale, ratios = _ratios(driving, _as_large_as_the_first(examples))
    if scale is None:
        return driving
    anchor = _anchor(driving, examples[0])
    root = _path(driving, anchor)
    fitted = _rebuilt(driving, root, anchor, scale, ratios)
    fitted[..., :2] += _placed(driving, fitted, examples[0], root, anchor, scale, ratios)[:, None]
    fitted[driving[..., 2] <= MIN_CONFIDENCE] = 0
    return fitted


def _as_large_as_the_first(examples: Points) -> Points:
    """Examples [K, 25, 3] of one person, seen from as near as the first."""
    scaled: Points = examples.copy()
    for example in scaled[1:]:
        lengths = [(_length(examples[:1], group), _length(example[None], group)) for group in LARGE]
        ratios = [first / own for first, own in lengths if first > 1 and own > 1]
        example[:, :2] *= float(np.median(ratios)) if ratios else 1.0
    return scaled


def _anchor(driving: Points, example: Points) -> int | None:
    """The joint that both bodies are hung up by: the mid hip, else the neck, else None for the middle of what is seen."""
    for joint in (MID_HIP, NECK):
        if example[joint, 2] > MIN_CONFIDENCE and (driving[:, joint, 2] > MIN_CONFIDENCE).any():
            return joint
    return None


def _path(bodies: Points, anchor: int | None) -> NDArray[np.float32]:
    """Where the anchor is in each frame, [T, 2]; in frames without it, between where it was and will be."""
    there = bodies[..., 2] > MIN_CONFIDENCE
    if anchor is None:
        seen, places = there.any(1), (bodies[..., :2] * there[..., None]).sum(1) / np.maximum(there.sum(1, keepdims=True), 1)
    else:
        seen, places = there[:, anchor], bodies[:, anchor, :2]
    if not seen.any():
        return np.zeros((len(bodies), 2), np.float32)
    times = np.arange(len(bodies))
    return np.stack([np.interp(times, times[seen], column[seen]) for column in places.T], 1).astype(np.float32)


def _ratios(driving: Points, examples: Points) -> tuple[float | None, dict[tuple[int, int], float]]:
    """How many times larger the example is, and each bone of his; bones that are not seen on both have the size of the whole."""
    lengths = [(_length(driving, group), _length(examples, group, best=100)) for group in GROUPS]
    found = {group: theirs / ours for group, (ours, theirs) in zip(GROUPS, lengths, strict=True) if ours > 1 and theirs > 1}
    large = [found[group] for group in LARGE if group in found] or list(found.values())
    if not large:
        return None, {}
    scale = float(np.median(large))
    ratios = {bone: float(np.clip(found.get(group, scale), scale / LIMIT, scale * LIMIT)) for group in GROUPS for bone in group}
    return scale, ratios


def _length(bodies: Points, group: tuple[tuple[int, int], ...], best: float = BEST_SEEN) -> float:
    """Length of these bones where they are seen at best; 0 where they never are."""
    lengths = []
    for start, end in group:
        there = np.minimum(bodies[:, start, 2], bodies[:, end, 2]) > MIN_CONFIDENCE
        lengths.append(np.linalg.norm(bodies[there, start, :2] - bodies[there, end, :2], axis=1))
    every = np.concatenate(lengths)
    return float(np.percentile(every, best)) if len(every) else 0.0


def _rebuilt(driving: Points, root: NDArray[np.float32], anchor: int | None, scale: float, ratios: dict[tuple[int, int], float]) -> Points:
    """Bone by bone from the mid hip, the anchor at the origin. A child without its parent keeps its place to the anchor, scaled."""
    result: Points = driving.copy()
    result[..., :2] = (driving[..., :2] - root[:, None]) * scale
    attached = [(parent, child) for parent, part in DETAILS for child in range(*part.indices(driving.shape[1]))]
    for parent, child in (*BONES, *attached):
        both = np.minimum(driving[:, parent, 2], driving[:, child, 2]) > MIN_CONFIDENCE
        bone = driving[both, child, :2] - driving[both, parent, :2]
        result[both, child, :2] = result[both, parent, :2] + bone * ratios.get((parent, child), scale)
    if anchor is not None:
        there = driving[:, anchor, 2] > MIN_CONFIDENCE
        result[there, :, :2] -= result[there, anchor, :2][:, None]
    return result


def _placed(
    driving: Points,
    fitted: Points,
    example: Points,
    root: NDArray[np.float32],
    anchor: int | None,
    scale: float,
    ratios: dict[tuple[int, int], float],
) -> NDArray[np.float32]:
    """Where the anchor of each frame comes to lie, [T, 2]."""
    seen = (driving[..., 2] > MIN_CONFIDENCE).any(1)
    place, steps = _path(example[None], anchor)[0], root - np.median(root[seen], axis=0)
    ours, theirs = _ground(driving), _ground(example[None])
    if ours is None or theirs is None:
        return np.asarray(place + steps * scale, np.float32)
    legs = float(np.mean([ratios[bone] for bone in LEGS]))
    y = place[1] + steps[:, 1] * legs
    lowest, own = (np.array([_lowest(body) for body in bodies]) for bodies in (driving, fitted))
    standing = np.flatnonzero(~np.isnan(lowest))
    wanted = theirs + (lowest - ours) * legs - own  # a jump lifts the feet by as many of the example's legs
    y = y + np.interp(np.arange(len(y)), standing, (wanted - y)[standing])
    return np.stack([place[0] + steps[:, 0] * scale, y], 1).astype(np.float32)


def _ground(bodies: Points) -> float | None:
    """Height in the image on which a body stands."""
    lowest = np.array([_lowest(body) for body in bodies])
    lowest = lowest[~np.isnan(lowest)]
    return float(np.percentile(lowest, BEST_SEEN)) if len(lowest) else None


def _lowest(body: Points) -> float:
    """y of the lowest point of the feet; NaN where none is seen."""
    feet = body[list(FEET)]
    feet = feet[feet[:, 2] > MIN_CONFIDENCE]
    return float(feet[:, 1].max()) if len(feet) else float("nan")
