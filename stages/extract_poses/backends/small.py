"""Our own pose network: one person in a box that is tracked from frame to frame. Shipped, so that it runs without a network."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from stages.backends import Backend
from stages.conditions.poses import NAMES
from stages.following import Subject, box_of_points

WEIGHTS = "pose_small_fsv2v.safetensors"
INPUT = (144, 192)
"""Width and height of what the network sees."""
STRIDE = 4
"""Pixels of the input from one cell of the map to the next."""
FILL = 0.75
"""Share of the input that a tracked person takes up, in the direction that he fills more."""
LEAST_CONFIDENCE = 0.3
LEAST_POINTS = 5
REFINEMENTS = 2
"""How often the place of a person who was just found is looked at again, each time closer."""
_NEAR = 2
"""Cells around the largest one whose mean is the point."""

Window = tuple[float, float, float]
"""What part of a frame the network is shown: x and y of its middle, and pixels of the frame per pixel of the input."""


class SmallPoses:
    """frame, uint8 RGB [H, W, 3] -> the person in it, if any. Frames of one clip are given in order."""

    def __init__(self, weights: Path, device: str) -> None:
        from stages.dense import load_dense

        self._network, info = load_dense(weights, device)
        self._device = next(self._network.parameters()).device
        self._points = [NAMES.index(name) for name in info["points"]]
        self._window: Window | None = None

    def __call__(self, frame: NDArray[np.uint8]) -> list[Subject]:
        person = None if self._window is None else self._look(frame, [self._window])[0]
        if person is None or _score(person) == 0:
            person = self._search(frame)
        self._window = None if person is None else window_around(person)
        return [] if person is None else [Subject(box_of_points(person[person[:, 2] > 0]), person)]

    def _search(self, frame: NDArray[np.uint8]) -> NDArray[np.float32] | None:
        """The most certain person anywhere: first in large windows, then in smaller ones."""
        for windows in search_windows(frame.shape[1], frame.shape[0]):
            person = max(self._look(frame, windows), key=_score)
            for _ in range(REFINEMENTS):
                if _score(person) > 0:
                    person = self._look(frame, [window_around(person)])[0]
            if _score(person) > 0:
                return person
        return None

    def _look(self, frame: NDArray[np.uint8], windows: list[Window]) -> list[NDArray[np.float32]]:
        """What is seen in each window: keypoints [25, 3] in pixels of the frame, zeros where nothing is."""
        import torch

        from stages.dense import picture_tensor

        pictures = picture_tensor(np.stack([_cut(frame, window) for window in windows])).to(self._device)
        with torch.inference_mode(), torch.autocast(self._device.type, torch.bfloat16):
            maps = self._network(pictures).float().cpu().numpy()
        height, width = frame.shape[:2]
        found = []
        for window, logits in zip(windows, maps, strict=True):
            keypoints = np.zeros((len(NAMES), 3), np.float32)
            keypoints[self._points] = _in_frame(decode(logits), window)
            x, y = keypoints[:, 0], keypoints[:, 1]
            outside = (x < -0.5) | (y < -0.5) | (x >= width - 0.5) | (y >= height - 0.5)
            keypoints[outside | (keypoints[:, 2] < LEAST_CONFIDENCE)] = 0
            found.append(keypoints)
        return found


def decode(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Maps [N, h, w], where 0 stands for nowhere -> points [N, 3]: x, y in pixels of the input, and the probability of being there."""
    count, rows, columns = logits.shape
    flat = logits.reshape(count, -1)
    top = np.maximum(flat.max(1, keepdims=True), 0)
    weights = np.exp(flat - top)
    share = weights / (weights.sum(1, keepdims=True) + np.exp(-top))
    best = flat.argmax(1)
    points = np.zeros((count, 3), np.float32)
    points[:, 2] = share.sum(1)
    for index, (y, x) in enumerate(zip(best // columns, best % columns, strict=True)):
        ys, xs = slice(max(y - _NEAR, 0), y + _NEAR + 1), slice(max(x - _NEAR, 0), x + _NEAR + 1)
        near = share[index].reshape(rows, columns)[ys, xs]
        points[index, 0] = STRIDE * (near.sum(0) @ np.arange(columns)[xs]) / near.sum()
        points[index, 1] = STRIDE * (near.sum(1) @ np.arange(rows)[ys]) / near.sum()
    return points


def window_around(person: NDArray[np.float32]) -> Window:
    """The window in which the person with keypoints [25, 3] fills the share FILL."""
    x0, y0, x1, y1 = map(float, box_of_points(person[person[:, 2] > 0]))
    scale = max((x1 - x0) / INPUT[0], (y1 - y0) / INPUT[1]) / FILL
    return (x0 + x1) / 2, (y0 + y1) / 2, max(scale, 0.05)


def search_windows(width: int, height: int) -> list[list[Window]]:
    """Windows over a picture of this size, to be tried in turn: the whole; as high or as wide as it; half of that."""
    whole, fitted = max(width / INPUT[0], height / INPUT[1]), min(width / INPUT[0], height / INPUT[1])
    grids = [_grid(width, height, scale) for scale in (whole, fitted, fitted / 2)]
    return [grids[0] + grids[1] if whole > 1.2 * fitted else grids[0], grids[2]]


def _grid(width: int, height: int, scale: float) -> list[Window]:
    """Windows of one scale that overlap by a half at least."""
    middles = []
    for side, seen in ((width, INPUT[0] * scale), (height, INPUT[1] * scale)):
        count = max(1, math.ceil(2 * side / seen) - 1)
        ends = (min(side, seen) / 2, side - min(side, seen) / 2)
        middles.append(np.linspace(*ends, count) if count > 1 else np.array([side / 2]))
    return [(float(x), float(y), scale) for y in middles[1] for x in middles[0]]


def _cut(frame: NDArray[np.uint8], window: Window) -> NDArray[np.uint8]:
    x, y, scale = window
    matrix = np.array([[scale, 0, x - scale * INPUT[0] / 2], [0, scale, y - scale * INPUT[1] / 2]])
    flags = cv2.WARP_INVERSE_MAP | (cv2.INTER_AREA if scale > 1 else cv2.INTER_LINEAR)
    return np.asarray(cv2.warpAffine(frame, matrix, INPUT, flags=flags), np.uint8)


def _in_frame(points: NDArray[np.float32], window: Window) -> NDArray[np.float32]:
    x, y, scale = window
    placed = points.copy()
    placed[:, 0] = x + (points[:, 0] - INPUT[0] / 2) * scale
    placed[:, 1] = y + (points[:, 1] - INPUT[1] / 2) * scale
    return placed


def _score(person: NDArray[np.float32]) -> float:
    """How much of a person is seen; 0 when it is too little to be one."""
    seen = person[:, 2] > 0
    return float(person[:, 2].sum()) if seen.sum() >= LEAST_POINTS else 0.0


def _open(device: str) -> Callable[[NDArray[np.uint8]], list[Subject]]:
    from weights import registry

    return SmallPoses(registry.path(WEIGHTS), device)


BACKEND = Backend(
    name="small",
    produces="BODY_25 keypoints without small toes of one person",
    open=_open,
    weights=(WEIGHTS,),
)
