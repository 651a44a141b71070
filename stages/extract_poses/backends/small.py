"""fsv2v's own small pose network: one person, in a box that is tracked from frame to frame. It is shipped and needs no download."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stages.backends import Backend
from stages.conditions.poses import MID_HIP, MIRROR, NAMES, NECK, NOSE
from stages.tables.skeletons import boxes_of
from stages.tracking.tracker import Detector, Subject
from stages.tracking.windows import cut_window

WEIGHTS = "pose_small_fsv2v.safetensors"
INPUT = (192, 256)
"""Width and height of the network's input."""
STRIDE = 4
"""Pixels of the input from one cell of the map to the next."""
MAP = (INPUT[1] // STRIDE, INPUT[0] // STRIDE)
FILL = 0.75
"""Share of the input that a tracked person fills, in the larger direction."""
MIN_CONFIDENCE = 0.2
SURE_CONFIDENCE = 0.5
MIN_POINTS = 6
"""Smallest number of certain points of a person, the nose or the neck among them."""
REFINEMENTS = 2
"""Number of passes that refine the window of a new person."""
MAX_AT_ONCE = 16
MAX_WINDOWS = 96
"""Largest number of windows of a search; long and narrow images are searched in larger windows."""
_SHOULDERS = (2, 5)
_NEAR = 2
"""Radius in cells of the neighbourhood of the maximum whose mean is the point."""

Window = tuple[float, float, float]
"""A part of a frame as input of the network: x and y of its middle, and pixels of the frame per pixel of the input."""


class SmallPoses:
    """frame, uint8 RGB [H, W, 3] -> the person in it, if any. Frames of one clip are given in order."""

    def __init__(self, weights: Path, device: str) -> None:
        from stages.models.dense import load_dense

        self._network, info = load_dense(weights, device)
        self._device = next(self._network.parameters()).device
        self._points = [NAMES.index(name) for name in info["points"]]
        self._mirror = [self._points.index(MIRROR[point]) for point in self._points]
        self._window: Window | None = None

    def __call__(self, frame: NDArray[np.uint8]) -> list[Subject]:
        person = None if self._window is None else self._look(frame, [self._window])[0]
        if person is None or _score(person) == 0:
            person = self._search(frame)
        self._window = None if person is None else window_around(person, frame.shape[1], frame.shape[0])
        return [] if person is None else [Subject(boxes_of(person), person)]

    def _search(self, frame: NDArray[np.uint8]) -> NDArray[np.float32] | None:
        """The most certain person anywhere: first in large windows, then in smaller ones."""
        for windows in search_windows(frame.shape[1], frame.shape[0]):
            person = max(self._look(frame, windows), key=_score)
            for _ in range(REFINEMENTS):
                if _score(person) > 0:
                    person = self._look(frame, [window_around(person, frame.shape[1], frame.shape[0])])[0]
            if _score(person) > 0:
                return person
        return None

    def _look(self, frame: NDArray[np.uint8], windows: list[Window]) -> list[NDArray[np.float32]]:
        """The person in each window: keypoints [25, 3] in pixels of the frame, zeros without one."""
        parts = [windows[start : start + MAX_AT_ONCE] for start in range(0, len(windows), MAX_AT_ONCE)]
        return [person for part in parts for person in self._look_at_once(frame, part)]

    def _look_at_once(self, frame: NDArray[np.uint8], windows: list[Window]) -> list[NDArray[np.float32]]:
        import torch

        from stages.networks.common.images import image_tensor

        cut = np.stack([_cut(frame, window) for window in windows])
        both = image_tensor(np.concatenate([cut, mirrored_images(cut)])).to(self._device)
        with torch.inference_mode(), torch.autocast(self._device.type, torch.bfloat16):
            straight, mirrored = probabilities(self._network(both).float().cpu().numpy()).reshape(2, len(windows), len(self._points), *MAP)
        height, width = frame.shape[:2]
        found = []
        for window, shares in zip(windows, (straight + mirrored[:, self._mirror, :, ::-1]) / 2, strict=True):
            keypoints = np.zeros((len(NAMES), 3), np.float32)
            keypoints[self._points] = _in_frame(decode(shares), window)
            x, y = keypoints[:, 0], keypoints[:, 1]
            outside = (x < -0.5) | (y < -0.5) | (x >= width - 0.5) | (y >= height - 0.5)
            keypoints[outside | (keypoints[:, 2] < MIN_CONFIDENCE)] = 0
            found.append(keypoints)
        return found


def mirrored_images(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Images [B, H, W, 3] mirrored so that cells of the map fall on cells: the first on the last."""
    shifted: NDArray[np.uint8] = images[:, :, ::-1].copy()
    shifted[:, :, : 1 - STRIDE] = shifted[:, :, STRIDE - 1 :]
    return shifted


def probabilities(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Maps [B, N, h, w], where logit 0 stands for absence -> probability of each point at each cell; the remainder to 1 is that of
    absence."""
    top = np.maximum(logits.max((2, 3), keepdims=True), 0)
    weights = np.exp(logits - top)
    return np.asarray(weights / (weights.sum((2, 3), keepdims=True) + np.exp(-top)))


def decode(shares: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities [N, h, w] -> points [N, 3]: x, y in pixels of the input, and the probability of being in it."""
    count, rows, columns = shares.shape
    best = shares.reshape(count, -1).argmax(1)
    points = np.zeros((count, 3), np.float32)
    points[:, 2] = shares.sum((1, 2))
    for index, (y, x) in enumerate(zip(best // columns, best % columns, strict=True)):
        ys, xs = slice(max(y - _NEAR, 0), y + _NEAR + 1), slice(max(x - _NEAR, 0), x + _NEAR + 1)
        near = shares[index][ys, xs]
        points[index, 0] = STRIDE * (near.sum(0) @ np.arange(columns)[xs]) / near.sum()
        points[index, 1] = STRIDE * (near.sum(1) @ np.arange(rows)[ys]) / near.sum()
    return points


def window_around(person: NDArray[np.float32], width: int, height: int) -> Window:
    """The window in which the person with keypoints [25, 3] fills the share FILL, in an image of that size.

    Where little of the person is visible, the window includes the region below the neck where trunk and arms must be.
    """
    x0, y0, x1, y1 = map(float, boxes_of(person))
    if person[NECK, 2] > 0:
        reach, (x, y) = _trunk(person), map(float, person[NECK, :2])
        x0, x1 = min(x0, max(x - 0.8 * reach, 0)), max(x1, min(x + 0.8 * reach, width - 1))
        y1 = max(y1, min(y + 1.5 * reach, height - 1))
    scale = max((x1 - x0) / INPUT[0], (y1 - y0) / INPUT[1]) / FILL
    return (x0 + x1) / 2, (y0 + y1) / 2, max(scale, 0.05)


def _trunk(person: NDArray[np.float32]) -> float:
    """Length of the trunk, or an estimate from other parts."""
    lengths = [
        share * float(np.linalg.norm(person[start, :2] - person[end, :2]))
        for start, end, share in ((NECK, MID_HIP, 1.0), (_SHOULDERS[0], _SHOULDERS[1], 1.3), (NECK, NOSE, 2.0))
        if min(person[start, 2], person[end, 2]) > 0
    ]
    return max(lengths, default=0.0)


def search_windows(width: int, height: int) -> list[list[Window]]:
    """Windows over an image of this size, to be tried in turn: the whole; as high or as wide as it; half of that."""
    whole, fitted = max(width / INPUT[0], height / INPUT[1]), min(width / INPUT[0], height / INPUT[1])
    grids = [_grid(width, height, scale) for scale in (whole, fitted, fitted / 2)]
    return [grids[0] + grids[1] if whole > 1.2 * fitted else grids[0], grids[2]]


def _grid(width: int, height: int, scale: float) -> list[Window]:
    """Windows of one scale, or a larger scale if there were too many, that overlap by at least a half."""
    while 4 * width * height / (INPUT[0] * INPUT[1] * scale**2) + 2 * max(width / INPUT[0], height / INPUT[1]) / scale > MAX_WINDOWS:
        scale *= 1.5
    middles = []
    for side, seen in ((width, INPUT[0] * scale), (height, INPUT[1] * scale)):
        count = max(1, math.ceil(2 * side / seen) - 1)
        ends = (min(side, seen) / 2, side - min(side, seen) / 2)
        middles.append(np.linspace(*ends, count) if count > 1 else np.array([side / 2]))
    return [(float(x), float(y), scale) for y in middles[1] for x in middles[0]]


def _cut(frame: NDArray[np.uint8], window: Window) -> NDArray[np.uint8]:
    x, y, scale = window
    return cut_window(frame, (x - scale * INPUT[0] / 2, y - scale * INPUT[1] / 2), scale, INPUT)


def _in_frame(points: NDArray[np.float32], window: Window) -> NDArray[np.float32]:
    x, y, scale = window
    placed: NDArray[np.float32] = points.copy()
    placed[:, 0] = x + (points[:, 0] - INPUT[0] / 2) * scale
    placed[:, 1] = y + (points[:, 1] - INPUT[1] / 2) * scale
    return placed


def _score(person: NDArray[np.float32]) -> float:
    """Sum of confidences of a person; 0 with too few points."""
    sure = person[:, 2] > SURE_CONFIDENCE
    return float(person[:, 2].sum()) if sure.sum() >= MIN_POINTS and sure[[NOSE, NECK]].any() else 0.0


def _open(device: str) -> Detector:
    from weights import registry

    return SmallPoses(registry.path(WEIGHTS), device)


BACKEND = Backend(
    name="small",
    produces="BODY_25 keypoints without small toes of one person",
    open=_open,
    weights=(WEIGHTS,),
    one_only=True,
)
