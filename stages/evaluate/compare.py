"""Which result is compared with which reference, at which size, and against which driving."""

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
from stages.evaluate.set_statistics import Pair, StatisticsCollector, min_side, samples, set_names
from stages.io.reading import parse_object

_AT_ONCE = 4
"""Number of files that are opened at the same time: opening a video mostly waits for ffmpeg."""


@dataclass(frozen=True)
class EvaluateOptions:
    """metrics: names or aliases, empty for all; driving: a clip, video or folder that the results follow; "" for the layer that synthesize
    kept in a result, or for the reference if it kept none; example: an image for the baseline, "" for the reference's first frame;
    landmarks: the detector; cache: a folder for statistics of features, "" for the one in the user's cache."""

    metrics: tuple[str, ...] = ()
    driving: str = ""
    example: str = ""
    landmarks: str = "auto"
    device: str = "auto"
    cache: str = ""


@dataclass(frozen=True)
class _Group:
    """What the results that are measured in one pass have in common."""

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
    """A score for each result and frame metric; then, unless this is a shard, a score for each set of results and distribution metric, and
    for each method and frame metric the mean over the clips (see `partial_result.methods`).

    results, references: see `pairs`; which results form a set: see `set_names`; shard (i, n): only every n-th result from the i-th on.
    `on_event` receives {done, total}, in frames of this pass, and {warning}. `out` names a file for the partial result, which `merge_parts`
    merges with other shards. sets_grow: it may also be merged with evaluations of more results, so that sets with too few frames are kept.
    A metric that cannot run here is reported with the reason.

    Raises MissingRequirement when a metric that was named cannot run, InputError when a result and its reference cannot be
    compared, ParametersDiffer when `out` is the partial result of another evaluation.
    """
    named = pairs(results, references)
    part = empty_part(named, options, shard)
    if out:
        require_same(out, part)
    metrics = [find_metric(name) for name in part.metrics]
    of_sets = [metric for metric in metrics if isinstance(metric, Distribution)]
    for metric in of_sets if options.metrics else ():
        metric.fetch()
    own = open_pairs(part.pairs, on_event)
    for score in _frame_by_frame(own, metrics, options, on_event):
        part.scores.append(score)
        yield score
    collector = StatisticsCollector(options.device, Cache(options.cache, lambda text: on_event({"warning": text})), on_event)
    sets = set_names(named)
    members: dict[str, list[Pair]] = {}
    for pool, pair in zip(sets[shard[0] :: shard[1]], own, strict=True):
        members.setdefault(pool, []).append(pair)
    for pool, measured in members.items() if of_sets else ():
        incomplete = (out is not None and sets_grow) or len(measured) < sets.count(pool)
        wanted = _possible(part, pool, measured, of_sets, options, incomplete)
        for result, reference in measured:
            example = _example(options.example, result.width, result.height)
            part.add(pool, 1, collector.sides(result, reference, example, wanted))
    if out:
        part.save(out)
    if shard[1] == 1:
        yield from part.aggregate_scores()


def empty_part(named: Sequence[tuple[str, str]], options: EvaluateOptions, shard: tuple[int, int]) -> PartialResult:
    """The partial result of a shard before anything is measured. Raises UsageError for an unknown metric."""
    metrics = dict.fromkeys(metric.name for name in options.metrics or metric_names() for metric in find_metrics(name))
    request = [named, options.driving, options.example, options.landmarks]
    fingerprint = hashlib.sha256(json.dumps(request).encode()).hexdigest()
    return PartialResult(tuple(metrics), (shard,), fingerprint, tuple(named[shard[0] :: shard[1]]))


def merge_parts(files: Sequence[str]) -> Iterator[Score]:
    """The scores in the files that `evaluate` has written, then those of the whole: sets and means. Raises InputError and UsageError."""
    whole = merge([Path(file) for file in files])
    yield from whole.scores
    yield from whole.aggregate_scores()


def open_pairs(named: Sequence[tuple[str, str]], on_event: OnEvent) -> list[Pair]:
    """Open each file once.

    Raises InputError for a pair that cannot be compared; `on_event` receives warnings of other frame rates and crops.
    """
    paths = list(dict.fromkeys(path for pair in named for path in pair))
    pool = ThreadPoolExecutor(_AT_ONCE)
    try:
        sources = dict(zip(paths, pool.map(open_frame_source, paths), strict=True))
    finally:
        pool.shutdown(cancel_futures=True)
    found = [(sources[result], sources[reference]) for result, reference in named]
    for result, reference in found:
        _require_same_length(result, reference)
        _require_same_shape(result, reference)
        _warn_of_another_rate(result, reference, on_event)
        _warn_of_a_crop(result, reference, on_event)
    return found


def _frame_by_frame(
    matched: Sequence[Pair], metrics: Sequence[Metric | Distribution], options: EvaluateOptions, on_event: OnEvent
) -> Iterator[Score]:
    of_frames = [metric for metric in metrics if isinstance(metric, Metric)]
    driving = open_frame_source(options.driving) if options.driving else None
    groups: dict[_Group, list[FrameSource]] = {}
    for result, reference in matched if of_frames else ():
        if driving and driving.num_frames != reference.num_frames:
            raise InputError(f"The driving {driving.path} has {driving.num_frames} frames, {reference.path} has {reference.num_frames}")
        group = _Group(reference, result.width, result.height, driving or _kept_driving(result))
        groups.setdefault(group, []).append(result)
    given: set[str] = set()
    for group, members in groups.items():
        context = EvaluationContext(group.width, group.height, options.device, options.landmarks, group.driving, driving is None)
        if options.metrics:
            _require(of_frames, context)
        wanted = of_frames if options.metrics else [metric for metric in of_frames if metric.concerns(context)]
        _warn_of_cautions(wanted, context, group.reference.num_frames, given, on_event)
        yield from measure(members, group.reference, wanted, context, _example(options.example, group.width, group.height), on_event)


def _possible(
    part: PartialResult, pool: str, measured: Sequence[Pair], metrics: Sequence[Distribution], options: EvaluateOptions, incomplete: bool
) -> list[Extractor]:
    """The extractors of the metrics that can run on the pool; the reasons for the others are added to the partial result."""
    for metric in metrics:
        reason = metric.missing() or metric.too_small(min_side(measured))
        if not incomplete:
            reason = reason or metric.too_few(samples(measured, metric.extractor, bool(options.example)))
        if reason:
            part.reasons[pool, metric.name] = reason
    possible = {metric.extractor.name: metric.extractor for metric in metrics if (pool, metric.name) not in part.reasons}
    return list(possible.values())


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


def _warn_of_another_rate(result: FrameSource, reference: FrameSource, on_event: OnEvent) -> None:
    if result.fps and reference.fps and not same_rate([result.fps, reference.fps]):
        rates = f"{float(result.fps):.5g} frames a second, its reference {reference.path} has {float(reference.fps):.5g}"
        on_event({"warning": f"{result.path} has {rates}: frames are compared by their number, not by their time"})


def _warn_of_cautions(metrics: Sequence[Metric], context: EvaluationContext, frames: int, given: set[str], on_event: OnEvent) -> None:
    """Report the cautions of the metrics that can run, except those that were `given` for another group."""
    for metric in metrics:
        caution = "" if metric.unavailable(context, frames) else metric.caution(context)
        if caution and caution not in given:
            given.add(caution)
            on_event({"warning": caution})


def _warn_of_a_crop(result: FrameSource, reference: FrameSource, on_event: OnEvent) -> None:
    """`synthesize` crops larger videos to the head or the body; such a result does not show the same part as the video that drove it."""
    if (result.width, result.height) == (reference.width, reference.height):
        return
    crop = _crop_of(result)
    if crop not in (None, "none") and _crop_of(reference) is None:
        unlike = f"{result.path} was made with the crop {crop!r}, and {reference.path} may show more than that crop"
        on_event({"warning": Sentence(unlike, code="crop-differs")})


def _crop_of(source: FrameSource) -> str | None:
    """The value of --crop that a result of synthesize was made with; None for anything else."""
    try:
        if source.clip is not None:
            producer = source.clip.layer("frames").meta["producer"]
        else:
            producer = parse_object(read_comment(Path(source.path)) or "{}")
        crop: str | None = producer["parameters"]["crop"] if producer.get("stage") == "synthesize" else None
    except (ValueError, TypeError, KeyError):  # a comment that synthesize did not write
        return None
    return crop


def pairs(results: Sequence[str], references: Sequence[str]) -> list[tuple[str, str]]:
    """Each result with its reference, by their paths; nothing is opened. A pair that is named twice counts once.

    One reference serves all results. If there are as many references as results, they are paired in order. A folder of clips or videos
    (not of images) gives each result the entry of the same name, whatever its suffix; clips take precedence.
    Raises InputError for a result with no reference of its name, or with several.
    """
    if "" in (*results, *references):
        raise UsageError("An empty name was given for a result or a reference", hint="Is a variable of the shell not set?")
    if len(references) == 1 and is_collection(Path(references[0])):
        named = _by_name(Path(references[0]))
        for result in results:
            if stem(result) not in named:
                hint = f"Name the results in it: {result}/*" if is_collection(Path(result)) else "Give the reference the name of its result"
                raise InputError(f"{references[0]} holds no reference named {stem(result)} for {result}", hint=hint)
            if len(found := named[stem(result)]) > 1:
                several = " and ".join(path.name for path in found)
                raise InputError(f"{references[0]} holds several references for {result}: {several}", hint="Remove all but one")
        return _once((result, str(named[stem(result)][0])) for result in results)
    if len(references) not in (1, len(results)):
        raise UsageError(
            f"{len(references)} references for {len(results)} results",
            hint="Give one for all, one for each, or a folder with one of each name",
        )
    return _once(zip(results, list(references) * (len(results) // len(references)), strict=True))


def _once(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """The pairs without repetitions; different spellings of one path (a/b and a/./b) count as the same."""
    found: dict[tuple[str, str], tuple[str, str]] = {}
    for result, reference in pairs:
        found.setdefault((os.path.normpath(result), os.path.normpath(reference)), (result, reference))
    return list(found.values())


def _by_name(folder: Path) -> dict[str, list[Path]]:
    """The references in a folder by their names without suffix. If several have one name, only its clips are listed; if it has none, only
    its packed clips; else its folders of images and videos."""
    visible = sorted(path for path in folder.iterdir() if not path.name.startswith(".") and is_frame_source(path))
    found: dict[str, list[Path]] = {}
    for _, kind in groupby(sorted(visible, key=_precedence), _precedence):
        found = {**{name: list(paths) for name, paths in groupby(sorted(kind, key=stem), stem)}, **found}
    return found


def _precedence(path: Path) -> int:
    """0 for clips, 1 for packed clips, which may lie beside them, and 2 for what clips are made from."""
    return 2 if not is_clip(path) else 0 if path.is_dir() else 1


def _kept_driving(result: FrameSource) -> FrameSource | None:
    """The result itself, if synthesize kept in it the layer that drove it."""
    clip = result.clip
    layers = [kind.layer for kind in kinds().values() if kind.result_arrays is not None and clip is not None and clip.has(kind.layer)]
    return result if clip and any(clip.layer(name).meta["producer"]["stage"] == "synthesize" for name in layers) else None


def _require(metrics: Sequence[Metric], context: EvaluationContext) -> None:
    """Fetch the weights of metrics that were named, by opening them. Raises MissingRequirement when that fails."""
    for metric in metrics:
        if metric.missing(context):
            metric.open(context)


def _example(path: str, width: int, height: int) -> Image | None:
    return fit(read_image(Path(path)), width, height) if path else None
