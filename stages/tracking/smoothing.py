"""Smoothing of point tracks in time, without lag: the filter window extends equally into the past and the future."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

SIGMA_SECONDS = 0.04
"""Standard deviation of the filter in time at strength 1."""
REACH = 0.02
"""Positions farther away than about this share of the object's size have little weight, so that fast motion stays sharp."""

Payload = TypeVar("Payload")


@dataclass(frozen=True)
class TrackedFrame(Generic[Payload]):
    """The points of one frame: points [P, N, 3] (x, y, confidence), identity [P] (-1 for an empty slot), payload: passed through."""

    points: NDArray[np.float32]
    identity: NDArray[np.int64]
    payload: Payload


def smooth_tracks(frames: Iterable[TrackedFrame[Payload]], fps: float, strength: float) -> Iterator[TrackedFrame[Payload]]:
    """The frames with their points averaged over a window, weighted by distance in time and in space (a bilateral filter).

    The window contains only successive frames with the same identity, so that gaps, cuts and other people have no influence. It has the
    same length on both sides, so that steady motion is not distorted. strength 0: unchanged.
    """
    sigma = strength * SIGMA_SECONDS * fps
    half = math.ceil(2 * sigma)
    if half == 0:
        yield from frames
        return
    window: deque[TrackedFrame[Payload]] = deque(maxlen=2 * half + 1)
    centre = -1  # index in the window of the last frame that was yielded
    for frame in frames:
        centre -= len(window) == window.maxlen
        window.append(frame)
        if len(window) - 1 - half > centre:
            centre += 1
            yield _average(list(window), centre, half, sigma)
    for index in range(centre + 1, len(window)):
        yield _average(list(window), index, half, sigma)


def _average(window: list[TrackedFrame[Payload]], centre: int, half: int, sigma: float) -> TrackedFrame[Payload]:
    frame = window[centre]
    points = frame.points.copy()
    for person, identity in enumerate(frame.identity):
        if identity >= 0:
            reach = min(_run_length(window, centre, person, -1, half), _run_length(window, centre, person, +1, half))
            offsets = range(-reach, reach + 1)
            points_in_window = np.stack([window[centre + offset].points[person] for offset in offsets])
            points[person, :, :2] = _bilateral(points_in_window, np.array(offsets) / sigma)
    return TrackedFrame(points, frame.identity, frame.payload)


def _run_length(window: list[TrackedFrame[Payload]], centre: int, person: int, step: int, half: int) -> int:
    """Number of successive frames with the same identity in the direction of `step` (-1 or +1), at most `half`."""
    identity = window[centre].identity[person]
    length = 0
    while length < half:
        index = centre + step * (length + 1)
        if not 0 <= index < len(window) or person >= len(window[index].identity) or window[index].identity[person] != identity:
            break
        length += 1
    return length


def _bilateral(window: NDArray[np.float32], distance_in_time: NDArray[np.float64]) -> NDArray[np.float32]:
    """window: points [2R + 1, N, 3]; distance_in_time [2R + 1] in sigmas -> [N, 2].

    Missing points have no weight and stay unchanged.
    """
    middle = window[len(window) // 2]
    size = max(float(np.ptp(middle[middle[:, 2] > 0, :2], axis=0).max(initial=0.0)), 1.0)
    distance_in_space = np.linalg.norm(window[..., :2] - middle[:, :2], axis=-1) / (REACH * size)
    # the same weight on both sides: otherwise motion would shift the mean
    distance_in_space = np.maximum(distance_in_space, distance_in_space[::-1])
    in_both = (window[..., 2] > 0) & (window[::-1, :, 2] > 0)
    weight = np.where(in_both, np.exp(-0.5 * (distance_in_time[:, None] ** 2 + distance_in_space**2)), 0.0)
    weight[len(window) // 2] = 1.0
    mean = (weight[..., None] * window[..., :2]).sum(axis=0) / weight.sum(axis=0)[:, None]
    return np.asarray(mean, np.float32)
