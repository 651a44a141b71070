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
candidate. None in the place of a figure: this candidate could not be measured. None instead of all: there is nothing to measure here."""


class FeatureCache:
    """Of every image that is being shown, what metrics have made of it, so that what several need, or need again, is made once."""

    def __init__(self) -> None:
        self._made: dict[tuple[MakeAll[Any], int], tuple[Image, Any]] = {}
        self._shared: dict[str, Any] = {}

    def once(self, name: str, make: Callable[[], Made]) -> Made:
        """What several metrics of a pass share, made by the first that asks for it."""
        if name not in self._shared:
            self._shared[name] = make()
        made: Made = self._shared[name]
        return made

    def __call__(self, make: MakeAll[Made], images: Sequence[Image]) -> list[Made]:
        """What `make`, which takes a list of images, says of each, now or before. An image is the same only if it is the same object."""
        unknown = list({id(image): image for image in images if (make, id(image)) not in self._made}.values())
        for image, made in zip(unknown, make(unknown) if unknown else (), strict=True):
            self._made[make, id(image)] = image, made  # the image, too, lest its id become another's
        return [self._made[make, id(image)][1] for image in images]

    def forget_all_but(self, image: Image | None) -> None:
        self._made = {key: kept for key, kept in self._made.items() if kept[0] is image}


@dataclass(frozen=True)
class EvaluationContext:
    """What a scorer may want to know beside the frames.

    width, height: size of the frames in pixels; landmarks: name of the detector; driving: what the results were to follow, a layer of a
    clip or what is detected in its frames; None for the reference itself; kept: the driving is what synthesize kept in the result, whose
    layers alone drove it; memo: shared by the metrics of a pass.
    """

    width: int
    height: int
    device: str = "auto"
    landmarks: str = "auto"
    driving: FrameSource | None = None
    kept: bool = False
    memo: FeatureCache = field(default_factory=FeatureCache, compare=False, repr=False)


@dataclass(frozen=True)
class Metric:
    """One figure of merit.

    `open` loads what the metric needs and returns its scorer. `missing` returns "" or a sentence that says what is not here and which
    command fixes it; it does not use the network. `floor` tells that the reference itself scores worse than perfect, which is then worth
    reporting. `layer` is the layer that the driving must have: without it the metric is not taken unless it is asked for by name. At least
    `least_frames` frames with sides of at least `least_side` pixels are needed. `finish` turns what the scorer said of all frames of a
    candidate into the figures whose mean counts. `only_by_name`: it is not taken unless it is asked for. `caution` says what makes its
    figures in this setting differ from those of others, as a sentence; "" if nothing does.
    """

    name: str
    summary: str
    unit: str
    better: Literal["higher", "lower"]
    open: Callable[[EvaluationContext], Scorer]
    missing: Callable[[EvaluationContext], str] = lambda setting: ""
    aliases: tuple[str, ...] = ()
    layer: str = ""
    least_frames: int = 1
    least_side: int = 1
    floor: bool = False
    finish: Callable[[Scorer, Sequence[float | None]], Sequence[float | None]] | None = None
    only_by_name: bool = False
    caution: Callable[[EvaluationContext], str] = lambda setting: ""

    def concerns(self, setting: EvaluationContext) -> bool:
        """Whether it is taken without being asked for: there is a driving of the kind that this metric looks at."""
        if self.only_by_name:
            return False
        clip = None if setting.driving is None else setting.driving.clip
        return not self.layer or (clip is not None and clip.has(self.layer))

    def unavailable(self, setting: EvaluationContext, frames: int) -> str:
        """Why this metric cannot be taken of `frames` frames, as a sentence; "" if it can."""
        if frames < self.least_frames:
            return f"needs {self.least_frames} frames"
        if min(setting.width, setting.height) < self.least_side:
            return f"needs frames of {self.least_side} pixels a side"
        return self.missing(setting)


def missing_weights(*names: str) -> str:
    """What keeps these weight files from being used without the network, as a sentence; "" if nothing does."""
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
