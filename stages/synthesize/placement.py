"""The size of a result, and the pasting of a result into the photograph of its example."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from stages.conditions.framing import Example
from stages.conditions.kinds.kind import Keypoints
from stages.conditions.view import View
from stages.networks.common.generator import Synthesis
from stages.synthesize.background import Background
from stages.synthesize.canvas import Canvas, FullSizeExample, Image, Map

Size = Literal["auto", "model", "example"] | int
MAX_SIDE = 1024
"""With the size `auto`, a larger crop is scaled down to this height in pixels."""
MIN_ENLARGEMENT = 1.25
"""With the size `auto`, a crop that is not pasted is shown at the model's size unless it is higher than the model's images by this
factor."""
CROPPED_SHARE = 0.9
"""A view that shows at least this share of the image, in both directions, is not pasted, unless it is scaled down to MAX_SIDE."""
MAX_PHOTOGRAPH = 4096
"""Longest side of a pasted photograph, in pixels. Larger photographs are scaled down, because few video players decode larger videos."""
MIN_EDGE = 0.03
"""Smallest width of the soft edge of the pasted part, in heights of the crop."""
Cover = Callable[[Keypoints, NDArray[np.uint8]], None]


@dataclass(frozen=True)
class Placement:
    """Height and width in pixels to which the model's images are enlarged, and whether they are put back into the photograph."""

    height: int
    width: int
    pasted: bool


def decide_placement(first: Example, size: Size, *, paste: bool, film: bool = False) -> Placement | None:
    """The placement of results that show the first example. If `paste` is set, they are pasted, provided that the example is cropped or
    would be scaled down to `MAX_SIDE`. Results of a film are always pasted.

    None if the results are images of the model's size that are not pasted.
    """
    model, native = first.view, first.view.height / _scale(first.view)
    pasted = film or (paste and (_is_cropped(first) or (size == "auto" and native > MAX_SIDE)))
    if size == "auto":
        height = model.height if native < MIN_ENLARGEMENT * model.height and not pasted else min(native, MAX_SIDE)
    else:
        height = {"model": model.height, "example": native}[size] if isinstance(size, str) else size
    if not pasted and round(height) == model.height:
        return None
    return Placement(_even(height), _even(height * model.width / model.height), pasted)


def _is_cropped(example: Example) -> bool:
    """Whether the view shows less than `CROPPED_SHARE` of the image in one direction."""
    height, width = example.clip.height, example.clip.width
    low, high = _corners(example.view, height, width)
    return bool((high - low < CROPPED_SHARE * np.array([width, height])).any())


def _even(length: float) -> int:
    """The nearest even number."""
    return 2 * round(length / 2)


def canvas_of(examples: Sequence[Example], placement: Placement) -> Canvas:
    """A canvas for frames that show the crop at the placement's size."""
    return Canvas([_full_size(example, placement) for example in examples])


def _full_size(example: Example, placement: Placement) -> FullSizeExample:
    model = example.view
    larger = View.scaled(model.height, model.width, placement.height, placement.width)
    return FullSizeExample(model.then(larger).image(example.clip.frame(example.index)), larger.inverse(model.height, model.width))


class Photograph:
    """A photograph in which the subject moves. All pixels that are not near the subject are those of the photograph.

    image: that of the first example. cover: sets a mask to 1 where the subject with given keypoints, in the model's pixels, moves.
    edge: width of the soft edge around this area, in heights of the model's images. background: what other images show behind the subject.
    """

    def __init__(
        self,
        image: Image,
        examples: Sequence[Example],
        placement: Placement,
        cover: Cover,
        edge: float,
        background: Background | None = None,
    ) -> None:
        first = examples[0]
        whole = whole_view(first.clip.height, first.clip.width)
        height, width = whole.height, whole.width
        self.image: Image = image if image.shape[:2] == (height, width) else whole.image(image)
        self._cover, self._edge, self._example_keypoints = cover, edge, first.sample.keypoints
        self._view = view = whole.inverse(first.clip.height, first.clip.width).then(first.view)
        self._sides = open_sides(view, height, width)
        self._part = _part_shown(view, height, width)
        part = self.image[self._part]
        rows, columns = part.shape[:2]
        cut = View(np.array([[1.0, 0, self._part[1].start], [0, 1.0, self._part[0].start]]), height, width)
        factor = min(1.0, placement.height / (view.height / _scale(view)))
        small = View.scaled(rows, columns, round(rows * factor), round(columns * factor))
        first_example = FullSizeExample(small.image(part), small.inverse(rows, columns).then(cut).then(view))
        self._canvas = Canvas([first_example, *(_full_size(example, placement) for example in examples[1:])])
        self._to_model = cut.then(view).matrix
        self._known: Map | None = None
        if background is not None:
            self._known = whole.image(background.known)[self._part][..., None]
            self._background = whole.image(background.image)[self._part]
            self._vacated = self._known * self._enlarged(self.motion_weights(self._example_keypoints))

    @property
    def from_model(self) -> View:
        """Maps the model's pixels to the photograph's."""
        return self._view.inverse(*self.image.shape[:2])

    def frame(self, synthesis: Synthesis, chosen: Sequence[int], keypoints: Keypoints, photograph: Image) -> Image:
        """The whole frame, uint8 [H, W, 3].

        synthesis: the output of the network.
        chosen: indices of the examples from which it was made.
        keypoints: those of the frame, in the model's pixels.
        photograph: the photograph, in which other subjects may already have moved.
        """
        weights = self.motion_weights(self._example_keypoints, keypoints)
        whole: Image = photograph.copy()
        part = whole[self._part]
        size = part.shape[1], part.shape[0]
        frame = self._canvas.frame(synthesis, chosen, weights)
        if frame.shape != part.shape:  # the crop is larger than MAX_SIDE
            frame = np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_CUBIC))
        opacity = self._enlarged(weights)
        if self._known is not None:
            part[:] = part + (self._background.astype(np.float32) - part) * self._vacated + 0.5
            opacity += (self._enlarged(self.motion_weights(keypoints)) - opacity) * self._known
        part[:] = part + (frame.astype(np.float32) - part) * opacity + 0.5
        return whole

    def _enlarged(self, weights: Map) -> Map:
        """Weights at the model's size, enlarged to the part of the photograph that the view shows, [H, W, 1]."""
        rows, columns = self.image[self._part].shape[:2]
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        opacity = cv2.warpAffine(weights, self._to_model, (columns, rows), flags=flags, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(opacity, np.float32)[..., None]

    def motion_weights(self, *keypoints: Keypoints) -> Map:
        """Factors of the motion, [h, w] in [0, 1] at the model's size: 1 where a subject with one of these sets of keypoints is.

        A frame needs them at the place of the subject in the frame, and at its place in the photograph, where the network paints the
        background unless other images show it.
        """
        mask = np.zeros((self._view.height, self._view.width), np.uint8)
        for points in keypoints:
            self._cover(points, mask)
        return soft_mask(mask, self._sides, self._edge)


def whole_view(height: int, width: int) -> View:
    """The view that shows all of an image of this size, scaled down if a side is longer than `MAX_PHOTOGRAPH`."""
    factor = min(1.0, MAX_PHOTOGRAPH / max(height, width))
    return View.scaled(height, width, round(height * factor), round(width * factor))


def _scale(view: View) -> float:
    """Pixels of the view per pixel of the image."""
    return float(np.sqrt(abs(np.linalg.det(view.matrix[:, :2]))))


def _corners(view: View, height: int, width: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The upper left and the lower right corner (x, y) of the part of the image that the view shows. The image itself begins at 0 and ends
    at its width and height."""
    back = view.inverse(height, width).matrix
    ends = np.array([[-0.5, -0.5], [view.width - 0.5, view.height - 0.5]]) @ back[:, :2].T + back[:, 2] + 0.5
    return ends.min(0), ends.max(0)


def _part_shown(view: View, height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns of the image that the view shows."""
    low, high = _corners(view, height, width)
    left, top = np.maximum(np.floor(low), 0).astype(int).tolist()
    right, bottom = np.minimum(np.ceil(high), [width, height]).astype(int).tolist()
    return slice(top, bottom), slice(left, right)


def open_sides(view: View, height: int, width: int) -> tuple[bool, bool, bool, bool]:
    """Whether the view reaches the border of the image on the left, top, right and bottom. No soft edge is needed there."""
    low, high = _corners(view, height, width)
    left, top = (low < 1).tolist()
    right, bottom = (high > np.array([width, height]) - 1).tolist()
    return left, top, right, bottom


def soft_mask(mask: NDArray[np.uint8], sides: tuple[bool, bool, bool, bool], edge: float) -> Map:
    """A mask [h, w] with a soft edge: 1 on the given mask, falling smoothly to 0 at the distance `edge` from it, in heights of the image.

    It is also 0 at the borders, except on `sides` that are open (see `open_sides`).
    """
    height, width = mask.shape
    x, y = np.arange(width, dtype=np.float32)[None], np.arange(height, dtype=np.float32)[:, None]
    border = np.full(mask.shape, np.float32(np.inf))
    for distance, is_open in zip((x, y, width - 1 - x, height - 1 - y), sides, strict=True):
        if not is_open:
            border = np.minimum(border, distance)
    away = cv2.distanceTransform(1 - mask, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) if mask.any() else np.full(mask.shape, np.inf)
    room = np.minimum(edge * height, border + away)  # the edge is narrower near a border
    share = np.minimum(1 - away / np.maximum(room, 1e-6), border / (MIN_EDGE * height))
    share = np.clip(share, 0, 1)
    smooth: Map = (share * share * (3 - 2 * share)).astype(np.float32)
    return smooth
