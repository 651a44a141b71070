"""fsv2v's own small pose network, which is shipped. It detects one person, in a window that follows the person from frame to frame."""

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
"""Width and height of the network's input in pixels."""
STRIDE = 4
"""Pixels of the input from one cell of the network's output map to the next."""
MAP = (INPUT[1] // STRIDE, INPUT[0] // STRIDE)
"""Height and width of the network's output map in cells."""
FILL = 0.75
"""Share of the input's width or height that a tracked person fills, whichever is larger."""
MIN_CONFIDENCE = 0.2
SURE_CONFIDENCE = 0.5
MIN_POINTS = 6
"""Smallest number of points of a person with more than SURE_CONFIDENCE. The nose or the neck has to be among them."""
REFINEMENTS = 2
"""Number of passes that refine the window of a new person."""
BATCH = 16
MAX_WINDOWS = 96
"""Largest number of windows of one size in a search. Long and narrow images would need more, so they are searched in larger windows."""
_SHOULDERS = (2, 5)
_RADIUS = 2
"""A point is the mean position in the cells up to this distance from the maximum, weighted by their probabilities."""

Window = tuple[float, float, float]
"""A part of a frame that becomes the network's input: x and y of its centre, and pixels of the frame per pixel of the input."""


class SmallPoses:
    """Called with the frames of a clip in order, uint8 RGB [H, W, 3]; returns a list with the person in it, or an empty list."""

    def __init__(self, weights: Path, device: str) -> None:
        from stages.models.dense import load_dense

        self._network, info = load_dense(weights, device)
        self._device = next(self._network.parameters()).device
        self._points = [NAMES.index(name) for name in info["points"]]
        self._mirror = [self._points.index(MIRROR[point]) for point in self._points]
        self._window: Window | None = None

    def __call__(self, frame: NDArray[np.uint8]) -> list[Subject]:
        person = None if self._window is None else self._detect(frame, [self._window])[0]
        if person is None or _score(person) == 0:
            person = self._search(frame)
        self._window = None if person is None else window_around(person, frame.shape[1], frame.shape[0])
        return [] if person is None else [Subject(boxes_of(person), person)]

    def _search(self, frame: NDArray[np.uint8]) -> NDArray[np.float32] | None:
        """The person with the highest score in the whole frame, searched for in large windows and then in smaller ones."""
        for windows in search_windows(frame.shape[1], frame.shape[0]):
            person = max(self._detect(frame, windows), key=_score)
            for _ in range(REFINEMENTS):
                if _score(person) > 0:
                    person = self._detect(frame, [window_around(person, frame.shape[1], frame.shape[0])])[0]
            if _score(person) > 0:
                return person
        return None

    def _detect(self, frame: NDArray[np.uint8], windows: list[Window]) -> list[NDArray[np.float32]]:
        """The person in each window: keypoints [25, 3] in pixels of the frame, zeros without a person."""
        batches = [windows[start : start + BATCH] for start in range(0, len(windows), BATCH)]
        return [person for batch in batches for person in self._detect_batch(frame, batch)]

    def _detect_batch(self, frame: NDArray[np.uint8], windows: list[Window]) -> list[NDArray[np.float32]]:
        import torch

        from stages.networks.common.images import image_tensor

        cut = np.stack([_cut(frame, window) for window in windows])
        batch = image_tensor(np.concatenate([cut, mirrored_images(cut)])).to(self._device)
        with torch.inference_mode(), torch.autocast(self._device.type, torch.bfloat16):
            direct, mirrored = probabilities(self._network(batch).float().cpu().numpy()).reshape(2, len(windows), len(self._points), *MAP)
        height, width = frame.shape[:2]
        people = []
        for window, maps in zip(windows, (direct + mirrored[:, self._mirror, :, ::-1]) / 2, strict=True):
            keypoints = np.zeros((len(NAMES), 3), np.float32)
            keypoints[self._points] = _to_frame(decode(maps), window)
            x, y = keypoints[:, 0], keypoints[:, 1]
            outside = (x < -0.5) | (y < -0.5) | (x >= width - 0.5) | (y >= height - 0.5)
            keypoints[outside | (keypoints[:, 2] < MIN_CONFIDENCE)] = 0
            people.append(keypoints)
        return people


def mirrored_images(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Mirror images [B, H, W, 3] and shift them by STRIDE - 1 pixels, so that the cells of the map are mirrored exactly."""
    shifted: NDArray[np.uint8] = images[:, :, ::-1].copy()
    shifted[:, :, : 1 - STRIDE] = shifted[:, :, STRIDE - 1 :]
    return shifted


def probabilities(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logits [B, N, h, w] -> the probability that each point is at each cell. The softmax is over all cells and a further logit 0, which
    stands for a point outside the input."""
    maximum = np.maximum(logits.max((2, 3), keepdims=True), 0)
    weights = np.exp(logits - maximum)
    return np.asarray(weights / (weights.sum((2, 3), keepdims=True) + np.exp(-maximum)))


def decode(maps: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities [N, h, w] -> points [N, 3]: x, y in pixels of the input, and the probability of being in it."""
    count, rows, columns = maps.shape
    best = maps.reshape(count, -1).argmax(1)
    points = np.zeros((count, 3), np.float32)
    points[:, 2] = maps.sum((1, 2))
    for index, (y, x) in enumerate(zip(best // columns, best % columns, strict=True)):
        ys, xs = slice(max(y - _RADIUS, 0), y + _RADIUS + 1), slice(max(x - _RADIUS, 0), x + _RADIUS + 1)
        neighbourhood = maps[index][ys, xs]
        points[index, 0] = STRIDE * (neighbourhood.sum(0) @ np.arange(columns)[xs]) / neighbourhood.sum()
        points[index, 1] = STRIDE * (neighbourhood.sum(1) @ np.arange(rows)[ys]) / neighbourhood.sum()
    return points


def window_around(person: NDArray[np.float32], width: int, height: int) -> Window:
    """The window in which the person with keypoints [25, 3] fills the share FILL, in an image of that size.

    It includes the region below the neck where trunk and arms must be, because they may not be visible yet.
    """
    x0, y0, x1, y1 = map(float, boxes_of(person))
    if person[NECK, 2] > 0:
        trunk, (x, y) = _trunk_length(person), map(float, person[NECK, :2])
        x0, x1 = min(x0, max(x - 0.8 * trunk, 0)), max(x1, min(x + 0.8 * trunk, width - 1))
        y1 = max(y1, min(y + 1.5 * trunk, height - 1))
    scale = max((x1 - x0) / INPUT[0], (y1 - y0) / INPUT[1]) / FILL
    return (x0 + x1) / 2, (y0 + y1) / 2, max(scale, 0.05)


def _trunk_length(person: NDArray[np.float32]) -> float:
    """Length of the trunk in pixels: the largest estimate from neck and hips, shoulders, and neck and nose."""
    lengths = [
        factor * float(np.linalg.norm(person[start, :2] - person[end, :2]))
        for start, end, factor in ((NECK, MID_HIP, 1.0), (_SHOULDERS[0], _SHOULDERS[1], 1.3), (NECK, NOSE, 2.0))
        if min(person[start, 2], person[end, 2]) > 0
    ]
    return max(lengths, default=0.0)


def search_windows(width: int, height: int) -> list[list[Window]]:
    """Windows over an image of this size, in two lists to be tried in turn.

    The first has windows that contain the whole image and those that fill it in one direction; the second has windows of half that size.
    """
    containing, filling = max(width / INPUT[0], height / INPUT[1]), min(width / INPUT[0], height / INPUT[1])
    grids = [_grid(width, height, scale) for scale in (containing, filling, filling / 2)]
    return [grids[0] + grids[1] if containing > 1.2 * filling else grids[0], grids[2]]


def _grid(width: int, height: int, scale: float) -> list[Window]:
    """Windows over the whole image that overlap by at least a half. The scale is enlarged if there would be more than MAX_WINDOWS."""
    while 4 * width * height / (INPUT[0] * INPUT[1] * scale**2) + 2 * max(width / INPUT[0], height / INPUT[1]) / scale > MAX_WINDOWS:
        scale *= 1.5
    centres = []
    for side, window_side in ((width, INPUT[0] * scale), (height, INPUT[1] * scale)):
        count = max(1, math.ceil(2 * side / window_side) - 1)
        ends = (min(side, window_side) / 2, side - min(side, window_side) / 2)
        centres.append(np.linspace(*ends, count) if count > 1 else np.array([side / 2]))
    return [(float(x), float(y), scale) for y in centres[1] for x in centres[0]]


def _cut(frame: NDArray[np.uint8], window: Window) -> NDArray[np.uint8]:
    x, y, scale = window
    return cut_window(frame, (x - scale * INPUT[0] / 2, y - scale * INPUT[1] / 2), scale, INPUT)


def _to_frame(points: NDArray[np.float32], window: Window) -> NDArray[np.float32]:
    """Points from pixels of the input to pixels of the frame."""
    x, y, scale = window
    in_frame: NDArray[np.float32] = points.copy()
    in_frame[:, 0] = x + (points[:, 0] - INPUT[0] / 2) * scale
    in_frame[:, 1] = y + (points[:, 1] - INPUT[1] / 2) * scale
    return in_frame


def _score(person: NDArray[np.float32]) -> float:
    """The sum of a person's confidences; 0 if fewer than MIN_POINTS points are above SURE_CONFIDENCE, or neither nose nor neck is."""
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
