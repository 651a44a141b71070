"""The figures of one trained variant: the metrics of `fsv2v evaluate`, and how well a network finds the driving labels in its videos."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import repeat
from pathlib import Path
from typing import TypeVar

import cv2
import labeller

from stages.clip import Clip
from stages.conditions.view import View
from stages.errors import Fsv2vError
from stages.evaluate import EvaluateOptions, Score, evaluate, find_metric

LABEL_METRICS = ("label-accuracy", "label-miou")
POSE_FOUND = "pose-found"
"""Share of the frames in which the detector found a body. The pose error covers only these, so this share is reported beside it."""
SET_METRIC_PREFIXES = ("fid", "kid", "fvd", "video-fid")
"""Metrics whose names begin with one of these compare all frames of all clips at once."""
REPEAT, REAL = "repeat the example", "the real frames"
"""Names of the two references that are listed beside the variants."""
Triple = tuple[Clip, Clip, Clip]
"""Result, examples, and the real clip that drove the result and is its reference."""
Entry = TypeVar("Entry")


@dataclass(frozen=True)
class Figures:
    """The figures of a trained variant, and of two references on the same clips. The dictionaries are indexed by metric."""

    values: dict[str, float] = field(default_factory=dict)
    """Figures of the variant."""
    repeat: dict[str, float] = field(default_factory=dict)
    """Figures of repeating the example in every frame."""
    real: dict[str, float] = field(default_factory=dict)
    """Figures of the real frames."""
    missing: dict[str, str] = field(default_factory=dict)
    """Reasons why metrics have no value."""
    variant: str = ""
    seed: int = 0
    parameters: int = 0
    minutes: float = 0.0
    """Training time in minutes on the machine that trained the variant."""

    def updated_with(self, later: Figures) -> Figures:
        """These figures with later ones added. A metric that has a value now is no longer listed as missing."""
        values = {**self.values, **later.values}
        missing = {metric: reason for metric, reason in {**self.missing, **later.missing}.items() if metric not in values}
        return replace(self, values=values, repeat={**self.repeat, **later.repeat}, real={**self.real, **later.real}, missing=missing)

    def restricted_to(self, metrics: Sequence[str]) -> Figures:
        """The figures of these metrics alone. A stored file of figures may also contain metrics of another table."""

        def select(figures: Mapping[str, Entry]) -> dict[str, Entry]:
            return {metric: value for metric, value in figures.items() if metric in metrics}

        return replace(self, values=select(self.values), repeat=select(self.repeat), real=select(self.real), missing=select(self.missing))


def score(triples: Sequence[Triple], metrics: Sequence[str], labeller_weights: Path | None, device: str) -> Figures:
    """Measure metrics. A metric that does not exist or cannot run is listed as missing with the reason.

    LABEL_METRICS and metrics of sets (SET_METRIC_PREFIXES) cover all frames together; the others are means over clips of equal weight.
    labeller_weights: the file of the labelling network; None if the clips have no label maps.
    """
    figures = Figures()
    for metric in metrics:
        try:
            _add(figures, metric, triples, labeller_weights, device)
        except Fsv2vError as reason:
            figures.missing[metric] = str(reason)
    return figures


def better(metric: str) -> str:
    """Whether "higher" or "lower" values of a metric are better."""
    if metric in (*LABEL_METRICS, POSE_FOUND):
        return "higher"
    try:
        return find_metric(metric).better
    except Fsv2vError:
        return "lower"


def unit(metric: str) -> str:
    """The unit of a metric; empty if it has none or is unknown."""
    try:
        return find_metric(metric).unit
    except Fsv2vError:
        return ""


def _add(figures: Figures, metric: str, triples: Sequence[Triple], labeller_weights: Path | None, device: str) -> None:
    if metric in figures.values:
        return
    if metric in LABEL_METRICS:
        _add_label_metrics(figures, triples, labeller_weights, device)
        return
    scores = _score_set(metric, triples, device) if metric.startswith(SET_METRIC_PREFIXES) else _score_clips(metric, triples, device)
    for name, target in (("value", figures.values), ("baseline", figures.repeat), ("floor", figures.real)):
        known = [value for score in scores if (value := getattr(score, name)) is not None]
        if known:
            target[metric] = sum(known) / len(known)
    if metric.startswith("pose-error"):
        figures.values[POSE_FOUND] = sum(score.coverage or 0.0 for score in scores) / len(scores)
    if metric not in figures.values:
        figures.missing[metric] = next((score.unavailable for score in scores if score.unavailable), "nothing was measured")


def _add_label_metrics(figures: Figures, triples: Sequence[Triple], labeller_weights: Path | None, device: str) -> None:
    if labeller_weights is None:
        figures.missing.update(dict.fromkeys(LABEL_METRICS, "these clips have no label maps"))
        return
    network = labeller.Labeller(labeller_weights, device)
    for target, frames in ((figures.values, _result_frames), (figures.repeat, _repeated_frames), (figures.real, _real_frames)):
        target.update(labeller.scores(network, [(frames(*triple), triple[2]) for triple in triples]))


def _result_frames(result: Clip, examples: Clip, reference: Clip) -> Iterator[labeller.Image]:
    return result.frames()


def _repeated_frames(result: Clip, examples: Clip, reference: Clip) -> Iterator[labeller.Image]:
    return repeat(_scaled_view(examples, result).image(examples.frame(0)), reference.num_frames)


def _real_frames(result: Clip, examples: Clip, reference: Clip) -> Iterator[labeller.Image]:
    return map(_scaled_view(reference, result).image, reference.frames())


def _scaled_view(clip: Clip, result: Clip) -> View:
    return View.scaled(clip.height, clip.width, result.height, result.width)


def _score_clips(metric: str, triples: Sequence[Triple], device: str) -> list[Score]:
    scores: list[Score] = []
    for result, examples, reference in triples:
        example = repeated_image(examples)
        if not example.exists():
            cv2.imwrite(str(example), examples.frame(0)[..., ::-1])
        options = EvaluateOptions((metric,), driving=str(reference.path), example=str(example), device=device)
        scores += evaluate([str(result.path)], [str(reference.path)], options)
    return scores


def repeated_image(examples: Clip) -> Path:
    """The path of the image that "repeat the example" repeats. If the file does not exist, the first example is written to it."""
    return examples.path.parent / "example.png"


def _score_set(metric: str, triples: Sequence[Triple], device: str) -> list[Score]:
    """The scores of all clips together as one set, if `evaluate` returns any; otherwise those of each clip."""
    results, references = ([str(triple[part].path) for triple in triples] for part in (0, 2))
    scores = list(evaluate(results, references, EvaluateOptions((metric,), device=device)))
    together = [score for score in scores if score.result not in results]  # a set is named after its folder
    return together or scores
