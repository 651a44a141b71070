"""What a metric of frames is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from stages.errors import MissingRequirement
from stages.evaluate.frame_source import FrameSource, Image

__all__ = ["EvaluationContext", "FeatureCache", "Image", "Metric", "Scorer", "missing_weights"]

Made = TypeVar("Made")
MakeAll = Callable[[Sequence[Image]], Sequence[Made]]
Scorer = Callable[[Image, Sequence[Image]], "Sequence[float | None] | None"]
"""Called once per frame, in order: (reference frame, candidate frames), all of one size, uint8 RGB [H, W, 3] -> a figure for each
candidate, None where that candidate could not be measured; or a single None where this frame has nothing to measure."""


class FeatureCache:
    """What metrics have computed from the images of the current frame, so that several metrics share a result."""

    def __init__(self) -> None:
        self._made: dict[tuple[MakeAll[Any], int], tuple[Image, Any]] = {}
        self._shared: dict[str, Any] = {}

    def once(self, name: str, make: Callable[[], Made]) -> Made:
        """An object that several metrics of a pass share, made by the first call."""
        if name not in self._shared:
            self._shared[name] = make()
        made: Made = self._shared[name]
        return made

    def __call__(self, make: MakeAll[Made], images: Sequence[Image]) -> list[Made]:
        """The results of `make` for each of `images`, computed once for each object; equal images that are different objects do not
        share."""
        unknown = list({id(image): image for image in images if (make, id(image)) not in self._made}.values())
        for image, made in zip(unknown, make(unknown) if unknown else (), strict=True):
            self._made[make, id(image)] = image, made  # keep the image, so that its id is not used again
        return [self._made[make, id(image)][1] for image in images]

    def forget_all_but(self, image: Image | None) -> None:
        """Drop the results of all images but this one."""
        self._made = {key: kept for key, kept in self._made.items() if kept[0] is image}


@dataclass(frozen=True)
class EvaluationContext:
    """What a scorer may need beside the frames.

    width, height: size of the frames in pixels; landmarks: name of the detector; driving: what the results follow, a layer of a clip or
    detections in its frames; None for the reference itself; kept: the driving is the result itself, in which synthesize kept the layer that
    drove it, so that its frames are not the driver's; cache: shared by the metrics of a pass.
    """

    width: int
    height: int
    device: str = "auto"
    landmarks: str = "auto"
    driving: FrameSource | None = None
    kept: bool = False
    cache: FeatureCache = field(default_factory=FeatureCache, compare=False, repr=False)


@dataclass(frozen=True)
class Metric:
    """One figure of merit.

    open: loads the metric's networks and returns its scorer.
    missing: "" or a sentence about the missing file or package, if possible a `Sentence` with a code; does not use the network.
    layer: the layer that the driving must have; without it the metric runs only when it is named.
    min_frames, min_side: it needs at least this number of frames, with sides of at least this number of pixels.
    floor: the reference itself scores worse than perfect, and its score is reported.
    finish: turns the scorer's values for all frames of a candidate into the figures whose mean counts.
    only_by_name: it runs only when it is named.
    caution: "" or a sentence on what makes its figures here incomparable with others.
    """

    name: str
    summary: str
    unit: str
    better: Literal["higher", "lower"]
    open: Callable[[EvaluationContext], Scorer]
    missing: Callable[[EvaluationContext], str] = lambda context: ""
    aliases: tuple[str, ...] = ()
    layer: str = ""
    min_frames: int = 1
    min_side: int = 1
    floor: bool = False
    finish: Callable[[Scorer, Sequence[float | None]], Sequence[float | None]] | None = None
    only_by_name: bool = False
    caution: Callable[[EvaluationContext], str] = lambda context: ""

    def concerns(self, context: EvaluationContext) -> bool:
        """Whether it runs without being named: the driving has the layer that this metric needs."""
        if self.only_by_name:
            return False
        clip = None if context.driving is None else context.driving.clip
        return not self.layer or (clip is not None and clip.has(self.layer))

    def unavailable(self, context: EvaluationContext, frames: int) -> str:
        """Why this metric cannot run on `frames` frames, as a sentence; "" if it can."""
        if frames < self.min_frames:
            return f"needs {self.min_frames} frames"
        if min(context.width, context.height) < self.min_side:
            return f"needs frames of {self.min_side} pixels a side"
        return self.missing(context)


def missing_weights(*names: str) -> str:
    """Why these weight files cannot be used without the network, as a sentence; "" if they can."""
    from weights import registry

    for name in names:
        if name not in registry.manifest():
            return f"the manifest of weights has no entry for {name}, because no sha256 of it is published to check it by"
        if not registry.available(name):
            try:
                return registry.problem(name)
            except MissingRequirement as problem:
                return str(problem)
    return ""
