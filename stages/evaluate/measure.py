"""One pass over a reference and its results: each frame is decoded once and given to every metric."""

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
from stages.evaluate.motion import MIN_SIDE, FlowEstimator, warp

REPEATED, WARPED, FLOOR = "repeated", "warped", "floor"
Name = int | str
"""The name of an image that is compared with the reference: the position of a result, REPEATED, WARPED or FLOOR."""
OnEvent = Callable[[Mapping[str, Any]], None]


def ignore(event: Mapping[str, Any]) -> None:
    """An `on_event` that does nothing."""


@dataclass(frozen=True)
class Score:
    """The figure of one metric for one result.

    value: mean over `frames` frames; low, high: its 95 % interval.
    baseline, warped, floor: the mean for the repeated example, for the warped example (see Baselines), and for the reference itself (None
    where that is perfect by definition).
    series, baseline_series, warped_series: the figure of each frame.
    coverage: the share of the scored frames in which the result could be measured.
    unavailable: "" or the reason why there is no figure.
    clips: more than 1 in a mean over several results.
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
        """A JSON object. `unavailable` and `clips` are only in it if there is a reason, or more than one clip."""
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
    """Scores of `results`, which all have the size in `context`, against one reference of the same length.

    example: the image of the baselines, of that size; None for the reference's first frame, which is then not scored. If it is the only
    frame, it is scored, and there are no baselines. The reference is resized to the size of the result: shrunk by area averaging, or
    enlarged. Raises InputError when the aspect ratios differ.
    """
    skipped = 1 if example is None and reference.num_frames > 1 else 0
    reasons = {metric.name: metric.unavailable(context, reference.num_frames) for metric in metrics}
    scorers = {metric.name: metric.open(context) for metric in metrics if not reasons[metric.name]}
    baselines = None if example is None else Baselines(example)
    tallies: dict[str, dict[Name, Tally]] = {metric.name: defaultdict(Tally) for metric in metrics}

    def prepare(frames: tuple[Image, ...]) -> tuple[Image, dict[Name, Image]]:
        """(truth, the images that are compared with it). Runs in another thread, because the baselines take as long as some metrics."""
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
                _add_frame(scorers[metric.name], truth, candidates, tallies[metric.name], index >= skipped)
        context.cache.forget_all_but(baselines.example if baselines else None)
        on_event({"done": index + 1, "total": reference.num_frames})
    for metric in metrics:
        for tally in tallies[metric.name].values() if metric.finish else ():
            assert metric.finish is not None
            tally.series = list(metric.finish(scorers[metric.name], tally.series))
    for position, result in enumerate(results):
        for metric in metrics:
            yield _make_score(result, reference, metric, tallies[metric.name], position, reasons[metric.name])


class Baselines:
    """Two videos that are scored for comparison: the example repeated, and the example warped to each frame of the truth.

    The example is warped along the optical flow from the truth to the example. This uses the truth, which no method knows, but only pixels
    of the example.
    """

    def __init__(self, example: Image) -> None:
        self.example, self._flow = example, FlowEstimator()

    def __call__(self, truth: Image) -> dict[Name, Image]:
        """The baselines of a frame of the truth, uint8 RGB [H, W, 3] as the example. Frames too small for optical flow have no WARPED."""
        warped: dict[Name, Image] = {WARPED: self.warped(truth)} if min(truth.shape[:2]) >= MIN_SIDE else {}
        return {REPEATED: self.example, **warped}

    def warped(self, truth: Image) -> Image:
        """The example, warped to this frame of the truth."""
        return np.rint(warp(self.example, self._flow(truth, self.example))).astype(np.uint8)


def _add_frame(scorer: Scorer, truth: Image, candidates: Mapping[Name, Image], tallies: Mapping[Name, Tally], is_scored: bool) -> None:
    """Give a frame to the scorer and, if it is scored, add the values of the candidates to their tallies."""
    values = scorer(truth, list(candidates.values()))
    for position, name in enumerate(candidates):
        if values is None or not is_scored:
            tallies[name].skip()
        else:
            tallies[name].add(values[position])


def _make_score(
    result: FrameSource, reference: FrameSource, metric: Metric, tallies: Mapping[Name, Tally], position: int, reason: str
) -> Score:
    tally, repeated, warped = tallies[position], tallies[REPEATED], tallies[WARPED]
    low, high = intervals.of_frames(tally.finite)
    return Score(
        result=result.path,
        reference=reference.path,
        metric=metric.name,
        unit=metric.unit,
        better=metric.better,
        value=tally.mean,
        frames=len(tally.finite),
        coverage=tally.coverage,
        baseline=repeated.mean,
        warped=warped.mean,
        floor=tallies[FLOOR].mean,
        unavailable=reason or ("" if tally.finite else "could not be measured in any frame"),
        low=low,
        high=high,
        series=tuple(tally.series),
        baseline_series=tuple(repeated.series),
        warped_series=tuple(warped.series),
    )


def fit(image: Image, width: int, height: int) -> Image:
    """Resize an image, by averaging over areas if it shrinks. Raises InputError when the aspect ratio would change."""
    old_height, old_width = image.shape[:2]
    if (old_width, old_height) == (width, height):
        return image
    if not same_shape((old_width, old_height), (width, height)):
        raise InputError(
            f"A frame of {old_width}x{old_height} pixels cannot be compared with a result of {width}x{height}",
            code="reference-shape",
        )
    shrinks = old_width > width
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC), np.uint8)
