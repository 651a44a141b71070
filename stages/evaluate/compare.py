"""Pairs results with references, opens them, and runs the metrics on them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from stages.clip import read_image
from stages.clip.clip import is_clip
from stages.clip.comments import read_comment
from stages.conditions.kinds import kinds
from stages.errors import InputError, Sentence, UsageError
from stages.evaluate.cache import Cache
from stages.evaluate.distribution import Distribution
from stages.evaluate.extractor import Extractor
from stages.evaluate.frame_source import FrameSource, Image, is_collection, is_frame_source, open_frame_source, same_rate, same_shape, stem
from stages.evaluate.measure import OnEvent, Score, fit, ignore, measure
from stages.evaluate.metric import EvaluationContext, Metric
from stages.evaluate.partial_result import PartialResult, merge, require_same
from stages.evaluate.registry import find_metric, find_metrics, metric_names
from stages.evaluate.set_statistics import Pair, StatisticsCollector, count_samples, set_names, shortest_side
from stages.io.reading import parse_object

_OPENING_THREADS = 4
"""Files are opened in several threads, because opening a video mostly waits for ffmpeg."""


@dataclass(frozen=True)
class EvaluateOptions:
    """Options of an evaluation.

    metrics: names or aliases, empty for all.
    driving: a clip, video or folder that the results follow; "" for the layer that synthesize kept in a result, or for the reference if it
    kept none.
    example: the image of the baselines, "" for the reference's first frame.
    landmarks: name of the landmark detector.
    cache: a folder for statistics of features, "" for the one in the user's cache folder.
    """

    metrics: tuple[str, ...] = ()
    driving: str = ""
    example: str = ""
    landmarks: str = "auto"
    device: str = "auto"
    cache: str = ""


@dataclass(frozen=True)
class _Group:
    """What all results that are measured in one pass over a reference have in common."""

    reference: FrameSource
    width: int
    height: int
    driving: FrameSource | None


def evaluate(
    results: Sequence[str],
    references: Sequence[str],
    options: EvaluateOptions,
    on_event: OnEvent = ignore,
    shard: tuple[int, int] = (0, 1),
    out: Path | None = None,
    sets_grow: bool = True,
) -> Iterator[Score]:
    """Yield a score for each result and metric of frames. After these, unless this is one of several shards, yield a score for each set of
    results and metric of distributions, and the mean over the clips for each method and metric of frames (see
    `partial_result.group_by_method`).

    results, references: see `pair_results`; `set_names` tells which results form a set.
    shard (i, n): measure only every n-th result, starting with the i-th, counted from 0.
    on_event: receives {done, total}, in frames of this pass, and {warning}.
    out: a file for the partial result, which `merge_parts` merges with other shards.
    sets_grow: `out` may be merged with evaluations of more results, so sets that have too few frames so far are kept in it.

    A metric that cannot run here gives a score with the reason in place of a figure.

    Raises UsageError for an unknown metric or a wrong number of references, MissingRequirement when one of `options.metrics` cannot run,
    InputError when a result and its reference cannot be compared, ParametersDiffer when `out` is the partial result of another evaluation.
    """
    all_pairs = pair_results(results, references)
    part = empty_part(all_pairs, options, shard)
    if out:
        require_same(out, part)
    metrics = [find_metric(name) for name in part.metrics]
    distributions = [metric for metric in metrics if isinstance(metric, Distribution)]
    for metric in distributions if options.metrics else ():
        metric.fetch()
    opened_pairs = open_pairs(part.pairs, on_event)
    for score in _frame_scores(opened_pairs, metrics, options, on_event):
        part.scores.append(score)
        yield score
    collector = StatisticsCollector(options.device, Cache(options.cache, lambda text: on_event({"warning": text})), on_event)
    names = set_names(all_pairs)
    sets: dict[str, list[Pair]] = {}
    for name, pair in zip(names[shard[0] :: shard[1]], opened_pairs, strict=True):
        sets.setdefault(name, []).append(pair)
    for name, members in sets.items() if distributions else ():
        incomplete = (out is not None and sets_grow) or len(members) < names.count(name)
        extractors = _usable_extractors(part, name, members, distributions, options, incomplete)
        for result, reference in members:
            example = _read_example(options.example, result.width, result.height)
            part.add(name, 1, collector.collect(result, reference, example, extractors))
    if out:
        part.save(out)
    if shard[1] == 1:
        yield from part.aggregate_scores()


def empty_part(pairs: Sequence[tuple[str, str]], options: EvaluateOptions, shard: tuple[int, int]) -> PartialResult:
    """The partial result of a shard before anything is measured. Raises UsageError for an unknown metric."""
    metrics = dict.fromkeys(metric.name for name in options.metrics or metric_names() for metric in find_metrics(name))
    request = [pairs, options.driving, options.example, options.landmarks]
    fingerprint = hashlib.sha256(json.dumps(request).encode()).hexdigest()
    return PartialResult(tuple(metrics), (shard,), fingerprint, tuple(pairs[shard[0] :: shard[1]]))


def merge_parts(files: Sequence[str]) -> Iterator[Score]:
    """Yield the scores in files that `evaluate` wrote, then those of sets and the means over all files. Raises InputError and
    UsageError."""
    whole = merge([Path(file) for file in files])
    yield from whole.scores
    yield from whole.aggregate_scores()


def open_pairs(pairs: Sequence[tuple[str, str]], on_event: OnEvent) -> list[Pair]:
    """Open each file once.

    Raises InputError for a pair that cannot be compared. `on_event` receives a warning where frame rates or crops differ.
    """
    paths = list(dict.fromkeys(path for pair in pairs for path in pair))
    pool = ThreadPoolExecutor(_OPENING_THREADS)
    try:
        sources = dict(zip(paths, pool.map(open_frame_source, paths), strict=True))
    finally:
        pool.shutdown(cancel_futures=True)
    opened = [(sources[result], sources[reference]) for result, reference in pairs]
    for result, reference in opened:
        _require_same_length(result, reference)
        _require_same_shape(result, reference)
        _warn_of_different_rates(result, reference, on_event)
        _warn_of_crop(result, reference, on_event)
    return opened


def _frame_scores(
    pairs: Sequence[Pair], metrics: Sequence[Metric | Distribution], options: EvaluateOptions, on_event: OnEvent
) -> Iterator[Score]:
    """The scores of the metrics of frames. Results with the same reference, size and driving are measured in one pass."""
    frame_metrics = [metric for metric in metrics if isinstance(metric, Metric)]
    driving = open_frame_source(options.driving) if options.driving else None
    groups: dict[_Group, list[FrameSource]] = {}
    for result, reference in pairs if frame_metrics else ():
        if driving and driving.num_frames != reference.num_frames:
            raise InputError(f"The driving {driving.path} has {driving.num_frames} frames, {reference.path} has {reference.num_frames}")
        group = _Group(reference, result.width, result.height, driving or _kept_driving(result))
        groups.setdefault(group, []).append(result)
    reported: set[str] = set()
    for group, members in groups.items():
        context = EvaluationContext(group.width, group.height, options.device, options.landmarks, group.driving, driving is None)
        if options.metrics:
            _fetch_weights(frame_metrics, context)
        selected = frame_metrics if options.metrics else [metric for metric in frame_metrics if metric.runs_by_default(context)]
        _warn_of_cautions(selected, context, group.reference.num_frames, reported, on_event)
        yield from measure(members, group.reference, selected, context, _read_example(options.example, group.width, group.height), on_event)


def _usable_extractors(
    part: PartialResult, name: str, members: Sequence[Pair], metrics: Sequence[Distribution], options: EvaluateOptions, incomplete: bool
) -> list[Extractor]:
    """The extractors of the metrics that can run on the set `name`. The reasons why the others cannot are added to `part`.

    incomplete: more results may join the set, so it is not refused for having too few frames.
    """
    for metric in metrics:
        reason = metric.missing() or metric.too_small(shortest_side(members))
        if not incomplete:
            reason = reason or metric.too_few(count_samples(members, metric.extractor, bool(options.example)))
        if reason:
            part.reasons[name, metric.name] = reason
    usable = {metric.extractor.name: metric.extractor for metric in metrics if (name, metric.name) not in part.reasons}
    return list(usable.values())


def _require_same_length(result: FrameSource, reference: FrameSource) -> None:
    if result.num_frames != reference.num_frames:
        raise InputError(
            f"{result.path} has {result.num_frames} frames, its reference {reference.path} has {reference.num_frames}",
            hint="Give the reference that drove the result, cut to the same frames",
        )


def _require_same_shape(result: FrameSource, reference: FrameSource) -> None:
    if not same_shape((result.width, result.height), (reference.width, reference.height)):
        sizes = f"{result.width}x{result.height} pixels, its reference {reference.path} has {reference.width}x{reference.height}"
        raise InputError(f"{result.path} has {sizes}", hint="Crop one of them to the shape of the other")


def _warn_of_different_rates(result: FrameSource, reference: FrameSource, on_event: OnEvent) -> None:
    if result.fps and reference.fps and not same_rate([result.fps, reference.fps]):
        rates = f"{float(result.fps):.5g} frames a second, its reference {reference.path} has {float(reference.fps):.5g}"
        on_event({"warning": f"{result.path} has {rates}: frames are compared by their number, not by their time"})


def _warn_of_cautions(metrics: Sequence[Metric], context: EvaluationContext, frames: int, reported: set[str], on_event: OnEvent) -> None:
    """Report the cautions of the metrics that can run, except those in `reported`, to which they are added."""
    for metric in metrics:
        caution = "" if metric.unavailable(context, frames) else metric.caution(context)
        if caution and caution not in reported:
            reported.add(caution)
            on_event({"warning": caution})


def _warn_of_crop(result: FrameSource, reference: FrameSource, on_event: OnEvent) -> None:
    """Warn when the result was cropped to the head or the body and the reference was not, so that they show different parts."""
    if (result.width, result.height) == (reference.width, reference.height):
        return
    crop = _crop_of(result)
    if crop not in (None, "none") and _crop_of(reference) is None:
        difference = f"{result.path} was made with the crop {crop!r}, and {reference.path} may show more than that crop"
        on_event({"warning": Sentence(difference, code="crop-differs")})


def _crop_of(source: FrameSource) -> str | None:
    """The parameter `crop` with which synthesize made the source; None if synthesize did not make it."""
    try:
        if source.clip is not None:
            producer = source.clip.layer("frames").meta["producer"]
        else:
            producer = parse_object(read_comment(Path(source.path)) or "{}")
        crop: str | None = producer["parameters"]["crop"] if producer.get("stage") == "synthesize" else None
    except (ValueError, TypeError, KeyError):  # a comment that synthesize did not write
        return None
    return crop


def pair_results(results: Sequence[str], references: Sequence[str]) -> list[tuple[str, str]]:
    """The path of each result with the path of its reference. No file is opened. A pair that is given twice is returned once.

    A single reference is paired with all results. If it is a folder of clips or videos, each result is paired with the entry of the same
    name, whatever its suffix, and clips take precedence. If there are as many references as results, they are paired in order.

    Raises InputError if the folder contains no entry, or several entries, of a result's name, UsageError for an empty path and for any
    other number of references.
    """
    if "" in (*results, *references):
        raise UsageError("An empty name was given for a result or a reference", hint="Is a variable of the shell not set?")
    if len(references) == 1 and is_collection(Path(references[0])):
        candidates = _by_name(Path(references[0]))
        for result in results:
            if stem(result) not in candidates:
                hint = (
                    f"Give the results in the folder: {result}/*"
                    if is_collection(Path(result))
                    else "Give the reference the name of its result"
                )
                raise InputError(f"{references[0]} holds no reference named {stem(result)} for {result}", hint=hint)
            if len(found := candidates[stem(result)]) > 1:
                several = " and ".join(path.name for path in found)
                raise InputError(f"{references[0]} holds several references for {result}: {several}", hint="Remove all but one")
        return _unique((result, str(candidates[stem(result)][0])) for result in results)
    if len(references) not in (1, len(results)):
        raise UsageError(
            f"{len(references)} references for {len(results)} results",
            hint="Give one reference for all results, one for each, or a folder with a reference of each name",
        )
    return _unique(zip(results, list(references) * (len(results) // len(references)), strict=True))


def _unique(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """The pairs without repetitions; different spellings of one path (a/b and a/./b) count as the same."""
    found: dict[tuple[str, str], tuple[str, str]] = {}
    for result, reference in pairs:
        found.setdefault((os.path.normpath(result), os.path.normpath(reference)), (result, reference))
    return list(found.values())


def _by_name(folder: Path) -> dict[str, list[Path]]:
    """Name without suffix -> the references of that name in a folder: its clips; without a clip, its packed clips; without either, its
    videos and folders of images."""
    visible = sorted(path for path in folder.iterdir() if not path.name.startswith(".") and is_frame_source(path))
    found: dict[str, list[Path]] = {}
    for _, entries in groupby(sorted(visible, key=_precedence), _precedence):
        found = {**{name: list(paths) for name, paths in groupby(sorted(entries, key=stem), stem)}, **found}
    return found


def _precedence(path: Path) -> int:
    """0 for clips, 1 for packed clips, 2 for videos and folders of images."""
    return 2 if not is_clip(path) else 0 if path.is_dir() else 1


def _kept_driving(result: FrameSource) -> FrameSource | None:
    """The result itself if synthesize stored the driving layer in it, else None."""
    clip = result.clip
    layers = [kind.layer for kind in kinds().values() if kind.result_arrays is not None and clip is not None and clip.has(kind.layer)]
    return result if clip and any(clip.layer(name).meta["producer"]["stage"] == "synthesize" for name in layers) else None


def _fetch_weights(metrics: Sequence[Metric], context: EvaluationContext) -> None:
    """Fetch missing weights by opening the metrics. Raises MissingRequirement when that fails."""
    for metric in metrics:
        if metric.missing(context):
            metric.open(context)


def _read_example(path: str, width: int, height: int) -> Image | None:
    return fit(read_image(Path(path)), width, height) if path else None
