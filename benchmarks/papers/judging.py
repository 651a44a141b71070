"""The figures of one trained variant: what `fsv2v evaluate` says of its videos, and how well a network recovers labels from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import repeat
from pathlib import Path
from typing import TypeVar

import cv2
import labeller as labelling

from stages.clip import Clip
from stages.conditions.view import View
from stages.errors import Fsv2vError
from stages.evaluate import EvaluateOptions, Score, evaluate, find_metric

OF_LABELS = ("label-accuracy", "label-miou")
FOUND = "pose-found"
"""Share of the frames in which the detector found a body. The pose error covers only these, so this share is reported beside it."""
OF_SETS = ("fid", "kid", "fvd", "video-fid")
"""Metrics whose names begin with one of these compare all frames of all clips at once; the others are means over clips."""
REPEAT, REAL = "repeat the example", "the real frames"
Triple = tuple[Clip, Clip, Clip]
"""Result, examples, and the real clip that drove the result and is its reference."""
Entry = TypeVar("Entry")


@dataclass(frozen=True)
class Figures:
    """By metric: the variant's figures, those of repeating the example and of the real frames, and why any are missing."""

    values: dict[str, float] = field(default_factory=dict)
    repeat: dict[str, float] = field(default_factory=dict)
    real: dict[str, float] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    variant: str = ""
    seed: int = 0
    parameters: int = 0
    minutes: float = 0.0
    """Of training, on the machine where it ran."""

    def and_also(self, later: Figures) -> Figures:
        """These figures with later ones added. A metric that has a value by now is no longer listed as missing."""
        values = {**self.values, **later.values}
        missing = {metric: reason for metric, reason in {**self.missing, **later.missing}.items() if metric not in values}
        return replace(self, values=values, repeat={**self.repeat, **later.repeat}, real={**self.real, **later.real}, missing=missing)

    def only(self, metrics: Sequence[str]) -> Figures:
        """The figures of these metrics alone; another table may have asked for others."""

        def chosen(figures: Mapping[str, Entry]) -> dict[str, Entry]:
            return {metric: value for metric, value in figures.items() if metric in metrics}

        return replace(self, values=chosen(self.values), repeat=chosen(self.repeat), real=chosen(self.real), missing=chosen(self.missing))


def judge(triples: Sequence[Triple], metrics: Sequence[str], labels: Path | None, device: str) -> Figures:
    """Every clip counts the same. A metric that this version has not, or that cannot run here, is left out with its reason."""
    found = Figures()
    for metric in metrics:
        try:
            _add(found, metric, triples, labels, device)
        except Fsv2vError as reason:
            found.missing[metric] = str(reason)
    return found


def better(metric: str) -> str:
    """ "higher" or "lower"."""
    if metric in (*OF_LABELS, FOUND):
        return "higher"
    try:
        return find_metric(metric).better
    except Fsv2vError:
        return "lower"


def unit(metric: str) -> str:
    try:
        return find_metric(metric).unit
    except Fsv2vError:
        return ""


def _add(found: Figures, metric: str, triples: Sequence[Triple], labels: Path | None, device: str) -> None:
    if metric in found.values:
        return
    if metric in OF_LABELS:
        _add_labels(found, triples, labels, device)
        return
    scores = _of_set(metric, triples, device) if metric.startswith(OF_SETS) else _of_clips(metric, triples, device)
    for name, into in (("value", found.values), ("baseline", found.repeat), ("floor", found.real)):
        known = [value for score in scores if (value := getattr(score, name)) is not None]
        if known:
            into[metric] = sum(known) / len(known)
    if metric.startswith("pose-error"):
        found.values[FOUND] = sum(score.coverage or 0.0 for score in scores) / len(scores)
    if metric not in found.values:
        found.missing[metric] = next((score.unavailable for score in scores if score.unavailable), "nothing was measured")


def _add_labels(found: Figures, triples: Sequence[Triple], labels: Path | None, device: str) -> None:
    if labels is None:
        found.missing.update(dict.fromkeys(OF_LABELS, "these clips have no label maps"))
        return
    network = labelling.Labeller(labels, device)
    for into, frames in ((found.values, _own), (found.repeat, _repeated), (found.real, _real)):
        into.update(labelling.scores(network, [(frames(*triple), triple[2]) for triple in triples]))


def _own(result: Clip, examples: Clip, judged: Clip) -> Iterator[labelling.Image]:
    return result.frames()


def _repeated(result: Clip, examples: Clip, judged: Clip) -> Iterator[labelling.Image]:
    return repeat(_sized(examples, result).image(examples.frame(0)), judged.num_frames)


def _real(result: Clip, examples: Clip, judged: Clip) -> Iterator[labelling.Image]:
    return map(_sized(judged, result).image, judged.frames())


def _sized(clip: Clip, result: Clip) -> View:
    return View.scaled(clip.height, clip.width, result.height, result.width)


def _of_clips(metric: str, triples: Sequence[Triple], device: str) -> list[Score]:
    scores: list[Score] = []
    for result, examples, judged in triples:
        example = repeated_image(examples)
        if not example.exists():
            cv2.imwrite(str(example), examples.frame(0)[..., ::-1])
        options = EvaluateOptions((metric,), driving=str(judged.path), example=str(example), device=device)
        scores += evaluate([str(result.path)], [str(judged.path)], options)
    return scores


def repeated_image(examples: Clip) -> Path:
    """The picture that "repeat the example" repeats: the first example, unless the experiment has put another one there."""
    return examples.path.parent / "example.png"


def _of_set(metric: str, triples: Sequence[Triple], device: str) -> list[Score]:
    """The scores of all clips as one set, if `evaluate` gives any; otherwise those of the single clips."""
    results, references = ([str(triple[part].path) for triple in triples] for part in (0, 2))
    scores = list(evaluate(results, references, EvaluateOptions((metric,), device=device)))
    together = [score for score in scores if score.result not in results]
    return together or scores
