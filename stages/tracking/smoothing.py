"""Smoothing of point tracks in time, without lag: the filter looks as far ahead as it looks back."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

SIGMA_SECONDS = 0.04
"""Width of the filter in time at strength 1."""
REACH = 0.02
"""Neighbours farther away than about this share of the object's size have little weight, so fast motion stays sharp."""

Load = TypeVar("Load")


@dataclass(frozen=True)
class Tracked(Generic[Load]):
    """One frame on its way: points [P, N, 3] (x, y, confidence), identity [P] (-1 for an empty slot), and a payload that is passed
    through."""

    points: NDArray[np.float32]
    identity: NDArray[np.int64]
    load: Load


def smoothed(frames: Iterable[Tracked[Load]], fps: float, strength: float) -> Iterator[Tracked[Load]]:
    """The frames with their points averaged over a symmetric window, weighted by closeness in time and place (a bilateral filter).

    Only an unbroken run of the same identity on both sides of a frame counts: nothing leaks across a gap, a cut or another person. The
    window has the same length on both sides, so that steady motion is not distorted. strength 0: unchanged.
    """
    sigma = strength * SIGMA_SECONDS * fps
    half = math.ceil(2 * sigma)
    if half == 0:
        yield from frames
        return
    window: deque[Tracked[Load]] = deque(maxlen=2 * half + 1)
    centre = -1  # index in the window of the last frame that was yielded
    for frame in frames:
        centre -= len(window) == window.maxlen
        window.append(frame)
        if len(window) - 1 - half > centre:
            centre += 1
            yield _average(list(window), centre, half, sigma)
    for rest in range(centre + 1, len(window)):
        yield _average(list(window), rest, half, sigma)


def _average(window: list[Tracked[Load]], centre: int, half: int, sigma: float) -> Tracked[Load]:
    frame = window[centre]
    points = frame.points.copy()
    for person, identity in enumerate(frame.identity):
        if identity >= 0:
            reach = min(_run(window, centre, person, -1, half), _run(window, centre, person, +1, half))
            offsets = range(-reach, reach + 1)
            around = np.stack([window[centre + offset].points[person] for offset in offsets])
            points[person, :, :2] = _bilateral(around, np.array(offsets) / sigma)
    return Tracked(points, frame.identity, frame.load)


def _run(window: list[Tracked[Load]], centre: int, person: int, step: int, half: int) -> int:
    """Number of successive frames, at most `half`, with the same identity in the direction of `step`."""
    identity = window[centre].identity[person]
    length = 0
    while length < half:
        index = centre + step * (length + 1)
        if not 0 <= index < len(window) or person >= len(window[index].identity) or window[index].identity[person] != identity:
            break
        length += 1
    return length


def _bilateral(around: NDArray[np.float32], distance: NDArray[np.float64]) -> NDArray[np.float32]:
    """around [2R + 1, N, 3], distance [2R + 1] in sigmas -> [N, 2]. Missing points have no weight and stay unchanged."""
    middle = around[len(around) // 2]
    size = max(float(np.ptp(middle[middle[:, 2] > 0, :2], axis=0).max(initial=0.0)), 1.0)
    step = np.linalg.norm(around[..., :2] - middle[:, :2], axis=-1) / (REACH * size)
    step = np.maximum(step, step[::-1])  # the same weight on both sides, or motion would shift the mean
    there = (around[..., 2] > 0) & (around[::-1, :, 2] > 0)
    weight = np.where(there, np.exp(-0.5 * (distance[:, None] ** 2 + step**2)), 0.0)
    weight[len(around) // 2] = 1.0
    mean = (weight[..., None] * around[..., :2]).sum(axis=0) / weight.sum(axis=0)[:, None]
    return np.asarray(mean, np.float32)
