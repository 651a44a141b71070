"""Fits the driver's body to the example's: the limbs get the example's lengths, and the body stands where the example stands.

This lets a tall dancer drive a child. A limb that points towards the camera looks shorter than it is, but never longer. The length of a
limb is therefore a high percentile of its lengths over the whole clip. All frames are changed alike, without lag.

Joints are numbered as in BODY_25 (`poses.NAMES`). A bone is a pair of joints. A scale is a factor from the driver to the example. The
option `retarget` of a synthesis is something else: see `stages/synthesize/film.py`.
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
"""Groups of bones. The bones of a group, such as the left and the right thigh, are scaled by the same factor."""

ATTACHED_POINTS = ((0, FACE), (7, HAND_LEFT), (4, HAND_RIGHT))
"""(joint, slice of the points that move with it): the face moves with the nose, the hands with the wrists. They are scaled like the whole
body."""

LEGS = ((9, 10), (12, 13), (10, 11), (13, 14))
"""The bones of the legs."""
FEET = (11, 14, 19, 20, 21, 22, 23, 24)
"""The joints of the feet, with the ankles."""
LARGE_GROUPS = (((8, 1),), ((9, 10), (12, 13)), ((10, 11), (13, 14)), ((2, 3), (5, 6)), ((3, 4), (6, 7)))
"""The scale of the whole body is computed from the lengths of these groups."""
CLIP_PERCENTILE = 90
"""The length of a bone is this percentile of its lengths over the driving clip, and y of the ground this percentile of y of the feet."""
MAX_DEVIATION = 1.35
"""Largest factor between the scale of a bone and that of the whole body. It is limited, because a limb of the example may be
foreshortened."""

Points = NDArray[np.float32]


def retarget(driving: Points, examples: Points) -> Points:
    """The driving body [T, 25 or 137, 3] with the limb lengths and the position of the person in the examples [K, 25, 3].

    Points are x, y in pixels and a confidence. The ground on which the feet stand and the median position over the clip are moved to those
    of the first example. Vertical movement is scaled like the legs, horizontal movement like the whole body. If the driver or the example
    has no feet, the body is placed by its anchor (see `_anchor`). Missing points stay missing. If no bone is visible both in the driving
    clip and in the examples, `driving` is returned.
    """
    scale, bone_scales = _scales(driving, _scale_to_first(examples))
    if scale is None:
        return driving
    anchor = _anchor(driving, examples[0])
    path = _path(driving, anchor)
    fitted = _scale_bones(driving, path, anchor, scale, bone_scales)
    fitted[..., :2] += _anchor_positions(driving, fitted, examples[0], path, anchor, scale, bone_scales)[:, None]
    fitted[driving[..., 2] <= MIN_CONFIDENCE] = 0
    return fitted


def _scale_to_first(examples: Points) -> Points:
    """Examples [K, 25, 3] of one person, scaled to the size of the first."""
    scaled: Points = examples.copy()
    for example in scaled[1:]:
        lengths = [(_bone_length(examples[:1], group), _bone_length(example[None], group)) for group in LARGE_GROUPS]
        ratios = [first / length for first, length in lengths if first > 1 and length > 1]
        example[:, :2] *= float(np.median(ratios)) if ratios else 1.0
    return scaled


def _anchor(driving: Points, example: Points) -> int | None:
    """The joint that is used as the position of the body: the mid hip, else the neck. None stands for the mean of the visible points."""
    for joint in (MID_HIP, NECK):
        if example[joint, 2] > MIN_CONFIDENCE and (driving[:, joint, 2] > MIN_CONFIDENCE).any():
            return joint
    return None


def _path(bodies: Points, anchor: int | None) -> NDArray[np.float32]:
    """The position of the anchor in each frame, [T, 2], interpolated in frames without it; zeros if no frame has it."""
    visible = bodies[..., 2] > MIN_CONFIDENCE
    if anchor is None:
        seen, positions = visible.any(1), (bodies[..., :2] * visible[..., None]).sum(1) / np.maximum(visible.sum(1, keepdims=True), 1)
    else:
        seen, positions = visible[:, anchor], bodies[:, anchor, :2]
    if not seen.any():
        return np.zeros((len(bodies), 2), np.float32)
    times = np.arange(len(bodies))
    return np.stack([np.interp(times, times[seen], column[seen]) for column in positions.T], 1).astype(np.float32)


def _scales(driving: Points, examples: Points) -> tuple[float | None, dict[tuple[int, int], float]]:
    """(scale of the whole body, scale of each bone); (None, {}) if no bone is visible in both the driving clip and the examples.

    A bone that is not visible in both has the scale of the whole body.
    """
    lengths = [(_bone_length(driving, group), _bone_length(examples, group, percentile=100)) for group in GROUPS]
    measured = {group: example / driver for group, (driver, example) in zip(GROUPS, lengths, strict=True) if driver > 1 and example > 1}
    large = [measured[group] for group in LARGE_GROUPS if group in measured] or list(measured.values())
    if not large:
        return None, {}
    scale = float(np.median(large))
    limits = scale / MAX_DEVIATION, scale * MAX_DEVIATION
    return scale, {bone: float(np.clip(measured.get(group, scale), *limits)) for group in GROUPS for bone in group}


def _bone_length(bodies: Points, group: tuple[tuple[int, int], ...], percentile: float = CLIP_PERCENTILE) -> float:
    """The length of the bones of a group, in pixels: a percentile over bodies [T, N, 3]; 0 if none of the bones is visible in any frame."""
    lengths = []
    for start, end in group:
        visible = np.minimum(bodies[:, start, 2], bodies[:, end, 2]) > MIN_CONFIDENCE
        lengths.append(np.linalg.norm(bodies[visible, start, :2] - bodies[visible, end, :2], axis=1))
    all_lengths = np.concatenate(lengths)
    return float(np.percentile(all_lengths, percentile)) if len(all_lengths) else 0.0


def _scale_bones(
    driving: Points, path: NDArray[np.float32], anchor: int | None, scale: float, bone_scales: dict[tuple[int, int], float]
) -> Points:
    """The driving bodies with each bone scaled, from the mid hip outwards, and the anchor at the origin. path: from `_path`.

    A point without a visible parent is placed relative to the anchor, at the scale of the whole body.
    """
    result: Points = driving.copy()
    result[..., :2] = (driving[..., :2] - path[:, None]) * scale
    attached = [(parent, child) for parent, part in ATTACHED_POINTS for child in range(*part.indices(driving.shape[1]))]
    for parent, child in (*BONES, *attached):
        both = np.minimum(driving[:, parent, 2], driving[:, child, 2]) > MIN_CONFIDENCE
        bone = driving[both, child, :2] - driving[both, parent, :2]
        result[both, child, :2] = result[both, parent, :2] + bone * bone_scales.get((parent, child), scale)
    if anchor is not None:
        visible = driving[:, anchor, 2] > MIN_CONFIDENCE
        result[visible, :, :2] -= result[visible, anchor, :2][:, None]
    return result


def _anchor_positions(
    driving: Points,
    fitted: Points,
    example: Points,
    path: NDArray[np.float32],
    anchor: int | None,
    scale: float,
    bone_scales: dict[tuple[int, int], float],
) -> NDArray[np.float32]:
    """The position of the anchor in the example's image for each frame, [T, 2]. fitted: from `_scale_bones`; path: from `_path`."""
    seen = (driving[..., 2] > MIN_CONFIDENCE).any(1)
    origin, steps = _path(example[None], anchor)[0], path - np.median(path[seen], axis=0)
    driver_ground, example_ground = _ground(driving), _ground(example[None])
    if driver_ground is None or example_ground is None:
        return np.asarray(origin + steps * scale, np.float32)
    leg_scale = float(np.mean([bone_scales[bone] for bone in LEGS]))
    y = origin[1] + steps[:, 1] * leg_scale
    driver_feet, fitted_feet = (np.array([_lowest_foot(body) for body in bodies]) for bodies in (driving, fitted))
    with_feet = np.flatnonzero(~np.isnan(driver_feet))
    y_by_feet = example_ground + (driver_feet - driver_ground) * leg_scale - fitted_feet  # the height of a jump is scaled like the legs
    y = y + np.interp(np.arange(len(y)), with_feet, (y_by_feet - y)[with_feet])  # frames without feet: interpolated correction
    return np.stack([origin[0] + steps[:, 0] * scale, y], 1).astype(np.float32)


def _ground(bodies: Points) -> float | None:
    """y of the ground in the image, from the feet in all frames; None if no frame shows a foot."""
    lowest = np.array([_lowest_foot(body) for body in bodies])
    lowest = lowest[~np.isnan(lowest)]
    return float(np.percentile(lowest, CLIP_PERCENTILE)) if len(lowest) else None


def _lowest_foot(body: Points) -> float:
    """y of the lowest visible point of the feet; NaN if none is visible."""
    feet = body[list(FEET)]
    feet = feet[feet[:, 2] > MIN_CONFIDENCE]
    return float(feet[:, 1].max()) if len(feet) else float("nan")
