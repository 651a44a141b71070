"""Fits the driver's body to the example's: the limbs get the example's lengths, and the body stands where the example stands.

So a tall dancer can drive a child. A limb that points towards the camera looks shorter than it is, but never longer. The length of a
limb is therefore a high percentile of its lengths over the whole clip. All frames are changed alike, without lag.
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
"""Bones that are scaled by the same factor, such as left and right."""

DETAILS = ((0, FACE), (7, HAND_LEFT), (4, HAND_RIGHT))
"""Points that are attached to the nose and to the wrists, and are scaled like the whole body."""

LEGS = ((9, 10), (12, 13), (10, 11), (13, 14))
FEET = (11, 14, 19, 20, 21, 22, 23, 24)
LARGE = (((8, 1),), ((9, 10), (12, 13)), ((10, 11), (13, 14)), ((2, 3), (5, 6)), ((3, 4), (6, 7)))
"""Groups from whose lengths the scale of the whole body is computed."""
LENGTH_PERCENTILE = 90
"""Percentile over the driving clip that counts as the length of a bone, or as the height of the ground."""
MAX_RATIO = 1.35
"""Largest factor between the scale of a limb and that of the whole body, because a limb of the example may be foreshortened."""

Points = NDArray[np.float32]


def retarget(driving: Points, examples: Points) -> Points:
    """The driving body [T, 25 or 137, 3] with the lengths and position of the examples [K, 25, 3] of one person; all in pixels.

    The ground (the lowest position of the feet) and the median position over the clip become those of the first example. Vertical movement
    is scaled like the legs, horizontal movement like the whole body. If the driver or the example has no feet, the body is placed by its
    anchor (see `_anchor`). Missing points stay missing. If no bone is seen in both, `driving` is returned.
    """
    scale, ratios = _ratios(driving, _scale_to_first(examples))
    if scale is None:
        return driving
    anchor = _anchor(driving, examples[0])
    path = _path(driving, anchor)
    fitted = _scale_bones(driving, path, anchor, scale, ratios)
    fitted[..., :2] += _anchor_positions(driving, fitted, examples[0], path, anchor, scale, ratios)[:, None]
    fitted[driving[..., 2] <= MIN_CONFIDENCE] = 0
    return fitted


def _scale_to_first(examples: Points) -> Points:
    """Examples [K, 25, 3] of one person, scaled to the size of the first."""
    scaled: Points = examples.copy()
    for example in scaled[1:]:
        lengths = [(_bone_length(examples[:1], group), _bone_length(example[None], group)) for group in LARGE]
        ratios = [first / length for first, length in lengths if first > 1 and length > 1]
        example[:, :2] *= float(np.median(ratios)) if ratios else 1.0
    return scaled


def _anchor(driving: Points, example: Points) -> int | None:
    """The joint whose position stands for the body: the mid hip, else the neck, else None for the mean of the visible points."""
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


def _ratios(driving: Points, examples: Points) -> tuple[float | None, dict[tuple[int, int], float]]:
    """The scale from the driver to the example: of the whole body, and of each bone. (None, {}) if they have no bone in common.

    Bones that are not seen in both have the scale of the whole body.
    """
    lengths = [(_bone_length(driving, group), _bone_length(examples, group, percentile=100)) for group in GROUPS]
    measured = {group: example / driver for group, (driver, example) in zip(GROUPS, lengths, strict=True) if driver > 1 and example > 1}
    large = [measured[group] for group in LARGE if group in measured] or list(measured.values())
    if not large:
        return None, {}
    scale = float(np.median(large))
    limits = scale / MAX_RATIO, scale * MAX_RATIO
    return scale, {bone: float(np.clip(measured.get(group, scale), *limits)) for group in GROUPS for bone in group}


def _bone_length(bodies: Points, group: tuple[tuple[int, int], ...], percentile: float = LENGTH_PERCENTILE) -> float:
    """A percentile of the lengths of the bones of a group over bodies [T, N, 3], in pixels; 0 if no frame shows one of the bones."""
    lengths = []
    for start, end in group:
        visible = np.minimum(bodies[:, start, 2], bodies[:, end, 2]) > MIN_CONFIDENCE
        lengths.append(np.linalg.norm(bodies[visible, start, :2] - bodies[visible, end, :2], axis=1))
    all_lengths = np.concatenate(lengths)
    return float(np.percentile(all_lengths, percentile)) if len(all_lengths) else 0.0


def _scale_bones(
    driving: Points, path: NDArray[np.float32], anchor: int | None, scale: float, ratios: dict[tuple[int, int], float]
) -> Points:
    """The driving bodies with each bone scaled, from the mid hip outwards, and the anchor at the origin.

    A point whose parent is missing is placed relative to the anchor, at the scale of the whole body.
    """
    result: Points = driving.copy()
    result[..., :2] = (driving[..., :2] - path[:, None]) * scale
    attached = [(parent, child) for parent, part in DETAILS for child in range(*part.indices(driving.shape[1]))]
    for parent, child in (*BONES, *attached):
        both = np.minimum(driving[:, parent, 2], driving[:, child, 2]) > MIN_CONFIDENCE
        bone = driving[both, child, :2] - driving[both, parent, :2]
        result[both, child, :2] = result[both, parent, :2] + bone * ratios.get((parent, child), scale)
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
    ratios: dict[tuple[int, int], float],
) -> NDArray[np.float32]:
    """The position of the anchor in the example's image for each frame, [T, 2]. fitted: the bodies from `_scale_bones`."""
    seen = (driving[..., 2] > MIN_CONFIDENCE).any(1)
    origin, steps = _path(example[None], anchor)[0], path - np.median(path[seen], axis=0)
    driver_ground, example_ground = _ground(driving), _ground(example[None])
    if driver_ground is None or example_ground is None:
        return np.asarray(origin + steps * scale, np.float32)
    leg_ratio = float(np.mean([ratios[bone] for bone in LEGS]))
    y = origin[1] + steps[:, 1] * leg_ratio
    driver_feet, fitted_feet = (np.array([_lowest_foot(body) for body in bodies]) for bodies in (driving, fitted))
    with_feet = np.flatnonzero(~np.isnan(driver_feet))
    target = example_ground + (driver_feet - driver_ground) * leg_ratio - fitted_feet  # the height of a jump is scaled like the legs
    y = y + np.interp(np.arange(len(y)), with_feet, (target - y)[with_feet])
    return np.stack([origin[0] + steps[:, 0] * scale, y], 1).astype(np.float32)


def _ground(bodies: Points) -> float | None:
    """y of the ground in the image, from the feet in all frames; None if no frame shows a foot."""
    lowest = np.array([_lowest_foot(body) for body in bodies])
    lowest = lowest[~np.isnan(lowest)]
    return float(np.percentile(lowest, LENGTH_PERCENTILE)) if len(lowest) else None


def _lowest_foot(body: Points) -> float:
    """y of the lowest visible point of the feet; NaN if none is visible."""
    feet = body[list(FEET)]
    feet = feet[feet[:, 2] > MIN_CONFIDENCE]
    return float(feet[:, 1].max()) if len(feet) else float("nan")
