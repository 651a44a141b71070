"""Which result is compared with which reference, at which size, and against which driving."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from stages.clip import read_image
from stages.clip.clip import is_clip
from stages.clip.pictures import is_picture
from stages.errors import BadInput, UsageProblem
from stages.evaluate import intervals
from stages.evaluate.footage import Footage, open_footage
from stages.evaluate.measure import OnEvent, Score, fit, ignore, measure
from stages.evaluate.metric import Image, Metric, Setting, find_metric, metric_names

MEAN = "mean"
"""What stands in the place of the result in a mean over several clips."""


@dataclass(frozen=True)
class EvaluateOptions:
    """metrics: names or aliases, none means all; example: a picture for the baseline, "" for the reference's first frame; driving: a clip,
    video or folder that the results follow, "" for what the result keeps itself, else the reference; landmarks: the detector."""

    metrics: tuple[str, ...] = ()
    driving: str = ""
    example: str = ""
    landmarks: str = "auto"
    device: str = "auto"


@dataclass(frozen=True)
class _Group:
    """Results that one pass can measure together."""

    reference: Footage
    width: int
    height: int
    driving: Footage | None


def evaluate(
    results: Sequence[str],
    references: Sequence[str],
    options: EvaluateOptions,
    on_event: OnEvent = ignore,
) -> Iterator[Score]:
    """A score per result and metric, then, if the results have several references, the mean over the clips per metric.

    results, references: see `pairs`. `on_event` is told {done, total}, in frames of this pass. A metric that cannot run here is
    reported with the reason; one that was asked for by name and cannot run raises MissingRequirement. Raises BadInput when a result and
    its reference cannot be compared.
    """
    metrics = [find_metric(name) for name in options.metrics or metric_names()]
    driving = open_footage(options.driving) if options.driving else None
    groups: dict[_Group, list[Footage]] = {}
    for result, reference in pairs(results, references):
        _require_same_length(result, reference)
        if driving and driving.num_frames != reference.num_frames:
            raise BadInput(f"The driving {driving.path} has {driving.num_frames} frames, {reference.path} has {reference.num_frames}")
        group = _Group(reference, result.width, result.height, driving or _kept_driving(result))
        groups.setdefault(group, []).append(result)
    scores: list[Score] = []
    for group, members in groups.items():
        setting = Setting(group.width, group.height, options.device, options.landmarks, group.driving)
        if options.metrics:
            _require(metrics, setting)
        wanted = metrics if options.metrics else [metric for metric in metrics if metric.concerns(setting)]
        example = _example(options.example, setting)
        for score in measure(members, group.reference, wanted, setting, example, on_event):
            scores.append(score)
            yield score
    if len({score.reference for score in scores}) > 1:
        yield from _means(scores, metrics)


def _require_same_length(result: Footage, reference: Footage) -> None:
    if result.num_frames != reference.num_frames:
        raise BadInput(
            f"{result.path} has {result.num_frames} frames, its reference {reference.path} has {reference.num_frames}",
            hint="Give the reference that the result was driven by, cut to the same frames",
        )


def pairs(results: Sequence[str], references: Sequence[str]) -> list[tuple[Footage, Footage]]:
    """Each result with its reference.

    One reference serves all results; as many references as results go in the same order; and a folder of clips or videos (not of
    pictures) gives each result the one of the same name, whatever their endings are.
    """
    opened = [open_footage(result) for result in results]
    if len(references) == 1 and _is_collection(Path(references[0])):
        return [(result, open_footage(str(_same_name(result, Path(references[0]))))) for result in opened]
    if len(references) not in (1, len(results)):
        raise UsageProblem(
            f"{len(references)} references for {len(results)} results",
            hint="Give one for all, one for each, or a folder with one of each name",
        )
    if len(references) == 1:
        reference = open_footage(references[0])
        return [(result, reference) for result in opened]
    return list(zip(opened, map(open_footage, references), strict=True))


def _is_collection(path: Path) -> bool:
    return path.is_dir() and not is_clip(path) and not any(map(is_picture, path.iterdir()))


def _same_name(result: Footage, folder: Path) -> Path:
    found = [path for path in sorted(folder.iterdir()) if path.stem == result.stem and not path.name.startswith(".")]
    clips = [path for path in found if path.suffix == ".clip"]
    if not found:
        raise BadInput(f"{folder} holds no reference named {result.stem} for {result.path}")
    return (clips or found)[0]


def _kept_driving(result: Footage) -> Footage | None:
    """The result itself, if synthesize kept in it the landmarks or poses that drove it."""
    clip = result.clip
    kinds = [kind for kind in ("landmarks", "poses") if clip is not None and clip.has(kind)]
    return result if clip and any(clip.layer(kind).meta["producer"]["stage"] == "synthesize" for kind in kinds) else None


def _require(metrics: Sequence[Metric], setting: Setting) -> None:
    """What was asked for by name is fetched, which opening does. Raises MissingRequirement when it cannot be had."""
    for metric in metrics:
        if metric.missing(setting):
            metric.open(setting)


def _example(path: str, setting: Setting) -> Image | None:
    return fit(read_image(Path(path)), setting.width, setting.height) if path else None


def _means(scores: Sequence[Score], metrics: Sequence[Metric]) -> Iterator[Score]:
    """Each clip counts the same, however long it is; clips without a figure are left out and not counted in `clips`."""
    for metric in metrics:
        measured = [score for score in scores if score.metric == metric.name and score.value is not None]
        if measured:
            low, high = intervals.of_clips([score.value for score in measured if score.value is not None])
            yield replace(
                measured[0],
                result=MEAN,
                reference="",
                value=_mean([score.value for score in measured]),
                frames=sum(score.frames for score in measured),
                coverage=_mean([score.coverage for score in measured]),
                baseline=_mean([score.baseline for score in measured]),
                floor=_mean([score.floor for score in measured]),
                clips=len(measured),
                series=(),
                baseline_series=(),
                low=low,
                high=high,
            )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
