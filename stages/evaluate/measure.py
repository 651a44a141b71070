"""One pass over a reference and the results made after it: each frame is decoded once and shown to every metric."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np

from stages.compute.streaming import map_in_thread
from stages.errors import InputError
from stages.evaluate import intervals
from stages.evaluate.frame_source import FrameSource, same_shape
from stages.evaluate.metric import EvaluationContext, Image, Metric, Scorer
from stages.evaluate.motion import MIN_SIDE, FlowFinder, warp

REPEATED, WARPED, FLOOR = "repeated", "warped", "floor"
Name = int | str
"""Names an image that is compared with the reference: the position of a result, or one of these words."""
OnEvent = Callable[[Mapping[str, Any]], None]


def ignore(event: Mapping[str, Any]) -> None:
    """Drop an event."""


@dataclass(frozen=True)
class Score:
    """One figure of one result.

    value, baseline (the example image repeated), warped (the example warped to the reference, see Baselines) and floor
    (the reference itself; None where it is perfect by definition) are means over `frames` frames, low and high the 95 % interval of
    value; the series hold the figure of each frame. coverage is the share of the frames with something to measure in which the result
    could be measured. `unavailable` is "" or the reason why there is no figure. `clips` is more than 1 in a mean over several results.
    """

    result: str
    reference: str
    metric: str
    unit: str
    better: str
    value: float | None = None
    frames: int = 0
    coverage: float | None = None
    baseline: float | None = None
    warped: float | None = None
    floor: float | None = None
    unavailable: str = ""
    clips: int = 1
    low: float | None = None
    high: float | None = None
    series: tuple[float | None, ...] = field(default=(), repr=False)
    baseline_series: tuple[float | None, ...] = field(default=(), repr=False)
    warped_series: tuple[float | None, ...] = field(default=(), repr=False)

    def json(self) -> dict[str, str | float | None]:
        """A JSON object without infinite numbers; `unavailable` and `clips` only where they apply."""
        row: dict[str, str | float | None] = {
            "result": self.result, "metric": self.metric, "value": self.value, "low": self.low, "high": self.high, "frames": self.frames,
            "unit": self.unit, "better": self.better, "baseline": self.baseline, "warped": self.warped, "floor": self.floor,
            "coverage": self.coverage, "reference": self.reference,
        }  # fmt: skip
        if self.unavailable:
            row["unavailable"] = self.unavailable
        if self.clips > 1:
            row["clips"] = self.clips
        return row


class Tally:
    """The figures of one candidate, frame by frame; None where it was not scored, or where the figure is not a finite number."""

    def __init__(self) -> None:
        self.series: list[float | None] = []
        self.scored = 0

    def add(self, value: float | None) -> None:
        self.scored += 1
        self.series.append(value if value is not None and math.isfinite(value) else None)

    def skip(self) -> None:
        self.series.append(None)

    @property
    def finite(self) -> list[float]:
        return [value for value in self.series if value is not None]

    @property
    def mean(self) -> float | None:
        return sum(self.finite) / len(self.finite) if self.finite else None

    @property
    def coverage(self) -> float | None:
        return len(self.finite) / self.scored if self.scored else None


def measure(
    results: Sequence[FrameSource],
    reference: FrameSource,
    metrics: Sequence[Metric],
    context: EvaluationContext,
    example: Image | None,
    on_event: OnEvent = ignore,
) -> Iterator[Score]:
    """Scores of `results`, which are all of the size in `context`, against one reference of the same length.

    example: the image that the baselines show, of that size, or None for the reference's first frame, which is then not scored (a single
    frame is scored, without baselines). The reference is shrunk to the results' size by area, as the paper's protocol has it.
    Raises InputError when the shapes differ.
    """
    skipped = 1 if example is None and reference.num_frames > 1 else 0
    reasons = {metric.name: metric.unavailable(context, reference.num_frames) for metric in metrics}
    scorers = {metric.name: metric.open(context) for metric in metrics if not reasons[metric.name]}
    baselines = None if example is None else Baselines(example)
    tallies: dict[str, dict[Name, Tally]] = {metric.name: defaultdict(Tally) for metric in metrics}

    def prepare(frames: tuple[Image, ...]) -> tuple[Image, dict[Name, Image]]:
        """(truth, the images that the metrics compare with it). Runs in a thread, since the baselines take as long as some metrics."""
        nonlocal baselines
        truth = fit(frames[0], context.width, context.height)
        if skipped:
            baselines = baselines or Baselines(truth)
        return truth, {**dict(enumerate(frames[1:])), **(baselines(truth) if baselines else {})}

    sequences = zip(reference.frames(), *(result.frames() for result in results), strict=True)
    for index, (_, (truth, compared)) in enumerate(map_in_thread(prepare, sequences if scorers else ())):
        for metric in metrics:
            if metric.name in scorers:
                candidates = {**compared, FLOOR: truth} if metric.floor else compared
                _score(scorers[metric.name], truth, candidates, tallies[metric.name], index >= skipped)
        context.cache.forget_all_but(baselines.example if baselines else None)
        on_event({"done": index + 1, "total": reference.num_frames})
    for metric in metrics:
        for tally in tallies[metric.name].values() if metric.finish else ():
            assert metric.finish is not None
            tally.series = list(metric.finish(scorers[metric.name], tally.series))
    for position, result in enumerate(results):
        for metric in metrics:
            yield _result(result, reference, metric, tallies[metric.name], position, reasons[metric.name])


class Baselines:
    """Results without any method: the example itself, and the example warped to the truth.

    The warp is the optical flow from the truth to the example. It sees the truth, as no method can, but has only the example's pixels.
    """

    def __init__(self, example: Image) -> None:
        self.example, self._flow = example, FlowFinder()

    def __call__(self, truth: Image) -> dict[Name, Image]:
        """For a frame of the truth, uint8 RGB [H, W, 3] as the example is; frames that are too small for optical flow have no WARPED
        baseline."""
        moved: dict[Name, Image] = {WARPED: self.warped(truth)} if min(truth.shape[:2]) >= MIN_SIDE else {}
        return {REPEATED: self.example, **moved}

    def warped(self, truth: Image) -> Image:
        """The example, warped to this frame of the truth."""
        return np.rint(warp(self.example, self._flow(truth, self.example))).astype(np.uint8)


def _score(scorer: Scorer, truth: Image, candidates: Mapping[Name, Image], tallies: Mapping[Name, Tally], counts: bool) -> None:
    values = scorer(truth, list(candidates.values()))
    for position, name in enumerate(candidates):
        if values is None or not counts:
            tallies[name].skip()
        else:
            tallies[name].add(values[position])


def _result(
    result: FrameSource, reference: FrameSource, metric: Metric, tallies: Mapping[Name, Tally], position: int, reason: str
) -> Score:
    own, repeated, warped = tallies[position], tallies[REPEATED], tallies[WARPED]
    low, high = intervals.of_frames(own.finite)
    return Score(
        result=result.path,
        reference=reference.path,
        metric=metric.name,
        unit=metric.unit,
        better=metric.better,
        value=own.mean,
        frames=len(own.finite),
        coverage=own.coverage,
        baseline=repeated.mean,
        warped=warped.mean,
        floor=tallies[FLOOR].mean,
        unavailable=reason or ("" if own.finite else "could not be measured in any frame"),
        low=low,
        high=high,
        series=tuple(own.series),
        baseline_series=tuple(repeated.series),
        warped_series=tuple(warped.series),
    )


def fit(image: Image, width: int, height: int) -> Image:
    """The image at another size, averaged by area where it shrinks. Raises InputError for another aspect ratio."""
    own_height, own_width = image.shape[:2]
    if (own_width, own_height) == (width, height):
        return image
    if not same_shape((own_width, own_height), (width, height)):
        raise InputError(
            f"A frame of {own_width}x{own_height} pixels cannot be compared with a result of {width}x{height}",
            code="reference-shape",
        )
    shrinks = own_width > width
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC), np.uint8)
