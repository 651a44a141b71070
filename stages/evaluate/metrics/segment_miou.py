"""Whether the result matches the driving label map: a network labels the result, and these labels are compared with the driving labels.

The figure is the intersection over union, averaged over the labels in the driving map. The network is the one that made the driving layer,
or `street` if none of LABELLERS made it. Labels are matched by their names, and labels that the network does not know are left out. The
floor is the score of the reference itself: a perfect result would score the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from stages.backends import Backend, Backends
from stages.clip import Layer
from stages.conditions.labels import VOID, LabelLayer
from stages.errors import UsageError
from stages.evaluate.driven import labels_at_size, layer_of_driving
from stages.evaluate.metric import EvaluationContext, Image, Metric, Scorer

if TYPE_CHECKING:
    from stages.segment.backends import LabellerOpener

LabelMap = NDArray[np.uint8]
LabelFrames = Callable[[Sequence[Image]], Sequence[LabelMap]]
LABELLERS = ("street", "segformer")
"""Backends of `segment` that can label the result."""


class SegmentScore:
    """The scorer of a metric that compares label maps.

    targets: the driving label maps in the labeller's ids, VOID for labels that it does not know.
    label_frames: labels frames. agreement: scores the label map of a frame against the driving one, e.g. `mean_iou`.
    """

    def __init__(self, targets: Iterator[LabelMap], label_frames: LabelFrames, agreement: Callable[[LabelMap, LabelMap], float]) -> None:
        self._targets, self._label_frames, self._agreement = targets, label_frames, agreement

    def __call__(self, reference: Image, candidates: Sequence[Image]) -> list[float] | None:
        target = next(self._targets)
        if (target == VOID).all():
            return None
        return [self._agreement(labels, target) for labels in self._label_frames(candidates)]


def mean_iou(labels: LabelMap, target: LabelMap) -> float:
    """Intersection over union, averaged over the labels in `target` [H, W]. Pixels that are VOID in `target` do not count."""
    labelled = target != VOID
    shares = []
    for label in np.unique(target[labelled]):
        found, expected = (labels == label) & labelled, target == label
        shares.append((found & expected).sum() / (found | expected).sum())
    return float(np.mean(shares))


def label_lookup(names: Sequence[str], target_names: Sequence[str]) -> LabelMap:
    """A table [256] from the index of a label in `names` to its index in `target_names`; VOID for labels that have none."""
    lookup = np.full(256, VOID, np.uint8)
    for index, name in enumerate(names):
        if name in target_names:
            lookup[index] = list(target_names).index(name)
    return lookup


def most_probable_labels(probabilities: NDArray[np.float32], width: int, height: int) -> LabelMap:
    """Probabilities [L, h, w] of L labels -> the most probable label of each pixel, [height, width]."""
    import cv2

    resized = [cv2.resize(channel, (width, height), interpolation=cv2.INTER_LINEAR) for channel in probabilities]
    return np.asarray(np.argmax(resized, 0), np.uint8)


def open_segment_score(context: EvaluationContext, agreement: Callable[[LabelMap, LabelMap], float]) -> Scorer:
    """The scorer of a metric that compares the labels of the result with those of the driving."""
    driving, layer = layer_of_driving(context, "segment")
    labeller = _open_labeller(*_labeller_of(layer), context.device)
    labels = LabelLayer(layer)
    lookup = label_lookup(labels.names, labeller.names)
    maps = (lookup[labels.image(index)] for index in range(labels.num_frames))
    targets = labels_at_size(driving, maps, context.width, context.height)
    return SegmentScore(targets, lambda frames: context.cache(labeller, frames), agreement)


class Labeller:
    """Makes a label map for each frame, in the size of the frame."""

    def __init__(self, probabilities: Callable[[Image], NDArray[np.float32]], names: Sequence[str]) -> None:
        self._probabilities, self.names = probabilities, names

    def __call__(self, frames: Sequence[Image]) -> list[LabelMap]:
        return [most_probable_labels(self._probabilities(frame), frame.shape[1], frame.shape[0]) for frame in frames]


@lru_cache(maxsize=1)
def _open_labeller(name: str, model: str | None, device: str) -> Labeller:
    """The labeller. All metrics of a pass get the same object, so that each frame is labelled once."""
    backend = cast("Backend[LabellerOpener]", Backends("segment").require(name))
    network = backend.open(device)(model)
    return Labeller(network, network.table.names)


def missing(context: EvaluationContext) -> str:
    """See `missing` of a Metric."""
    try:
        return Backends("segment").get(_labeller_of(layer_of_driving(context, "segment")[1])[0]).missing()
    except UsageError as problem:
        return str(problem)


def _labeller_of(layer: Layer) -> tuple[str, str | None]:
    """(name, model) of the labeller that made a layer; `street` if none of LABELLERS made it."""
    producer: dict[str, Any] = layer.meta["producer"]
    if producer["backend"] in LABELLERS:
        return producer["backend"], producer["parameters"].get("model")
    return LABELLERS[0], None


METRIC = Metric(
    name="segment-miou",
    summary="labels found in the result against the driving labels, 1 for equal maps",
    unit="",
    better="higher",
    open=lambda context: open_segment_score(context, mean_iou),
    missing=missing,
    aliases=("miou",),
    layer="segment",
    min_side=32,
    floor=True,
)
