"""A metric of frames, and what its scorer receives."""

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
candidate, None where that candidate could not be measured. A single None in place of the list means that this frame is not scored."""


class FeatureCache:
    """What metrics have computed from the images of the current frame; metrics share it."""

    def __init__(self) -> None:
        self._made: dict[tuple[MakeAll[Any], int], tuple[Image, Any]] = {}
        self._shared: dict[str, Any] = {}

    def once(self, name: str, make: Callable[[], Made]) -> Made:
        """The object of that name, which metrics of a pass share. The first call makes it."""
        if name not in self._shared:
            self._shared[name] = make()
        made: Made = self._shared[name]
        return made

    def __call__(self, make: MakeAll[Made], images: Sequence[Image]) -> list[Made]:
        """The results of `make` for `images`, computed once for each image object. Two equal objects are computed twice."""
        missing = list({id(image): image for image in images if (make, id(image)) not in self._made}.values())
        for image, made in zip(missing, make(missing) if missing else (), strict=True):
            self._made[make, id(image)] = image, made  # keep the image, so that its id is not reused
        return [self._made[make, id(image)][1] for image in images]

    def forget_all_but(self, image: Image | None) -> None:
        """Drop the results of all images but this one."""
        self._made = {key: kept for key, kept in self._made.items() if kept[0] is image}


@dataclass(frozen=True)
class EvaluationContext:
    """What a scorer may need besides the frames.

    width, height: size of the frames in pixels.
    landmarks: name of the landmark detector.
    driving: the source that the results follow, by a layer of its clip or by detections in its frames; None for the reference.
    kept: `driving`, unless it is None, is the result itself, in which synthesize stored the driving layer. Its frames are then not the
    driving frames.
    cache: shared by the metrics of a pass.
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
    """One figure of merit of frames.

    open: loads the metric's networks and returns its scorer.
    missing: "" or a sentence about the missing file or package, if possible a `Sentence` with a code. It must not use the internet.
    layer: the layer that the driving needs. If the driving does not have it, the metric runs only when it is requested by name.
    min_frames, min_side: the smallest number of frames, and the smallest side in pixels, that the metric accepts.
    floor: the reference itself does not score perfectly, and its score is reported.
    finish: turns the scorer's values for all frames of a candidate into the figures whose mean is reported.
    only_by_name: it runs only when it is requested by name.
    caution: "" or a sentence on why its figures must not be compared with others.
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

    def runs_by_default(self, context: EvaluationContext) -> bool:
        """Whether it runs when no metric is requested by name."""
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
    """Why these weight files cannot be used without a download, as a sentence; "" if they can."""
    from weights import registry

    for name in names:
        if name not in registry.manifest():
            return f"the manifest of weights has no entry for {name}, because no sha256 of it is published"
        if not registry.available(name):
            try:
                return registry.problem(name)
            except MissingRequirement as problem:
                return str(problem)
    return ""
