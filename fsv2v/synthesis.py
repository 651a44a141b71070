"""Examples and a driving video become frames; a model is adapted to examples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple, cast, overload

import numpy as np
from numpy.typing import NDArray

from fsv2v.models import DEFAULT_MODELS, choose_perceptual_for, default_model, load_model
from fsv2v.reporting import RecordingReporter, Reporter
from fsv2v.sources import Examples, Source, Subject, TemporaryClips, driving_clip, examples_with_layer, temporary_clips, with_layer
from stages.clip import Clip, keeping_frames
from stages.compute.devices import choose_device
from stages.conditions.motion import UNCHANGED, Motion
from stages.errors import UsageError
from stages.models import Model
from stages.models.perceptual import open_distance
from stages.synthesize import (
    Choices,
    FilmRendering,
    Outcome,
    Rendering,
    ReportRequest,
    SynthesizeOptions,
    chained,
    choose_placement,
    decide,
    further,
    require_appearance,
    require_examples,
    require_face,
    require_film,
    variant,
)
from stages.synthesize import synthesize as write

SOURCES = ("subjects", "model", "base", "attention", "backend", "fps", "start")
"""Parameters of `synthesize` and `prepare` that are no fields of `SynthesizeOptions`."""


class Prepared(NamedTuple):
    """Clips with the layer that drives the model."""

    examples: list[Clip]
    driving: Clip
    model: Model
    start: Clip | None
    pictures: dict[str, Clip]
    """Of the appearance, by the paths that it names."""
    others: list[tuple[Clip, Clip]]
    """Further subjects of the photograph: the example clip and the driving clip of each."""


def prepare(
    examples: Examples,
    driving: Source | Sequence[Source],
    temporary: TemporaryClips,
    *,
    subjects: Sequence[Subject] = (),
    model: Model | str | PathLike[str] | None = None,
    base: str | PathLike[str] | None = None,
    attention: str = "auto",
    backend: str = "auto",
    device: str = "auto",
    fps: float = 25,
    start: Source | None = None,
    appearance: str = "",
    motion: Motion = UNCHANGED,
) -> Prepared:
    """Open examples and driving clips, choose the model by the driving layer, and extract what is missing into `temporary`."""
    choices, (drivings, chosen_subjects) = Choices.parse(appearance), _paired(driving, subjects)
    drive = driving_clip(drivings[0], temporary, fps=fps)
    if model is None and not any(kind in DEFAULT_MODELS for kind in drive.layers()):
        drive = with_layer(drive, "landmarks", temporary, device=device, backend=backend)
    chosen = _model(model, drive, base)
    chosen = chosen if attention == "auto" else chosen.with_attention(attention)
    require_appearance(appearance, chosen)
    require_face(motion, chosen)
    require_examples(examples is not None, chosen)
    kind = chosen.config.kind
    drive = with_layer(drive, kind, temporary, device=device, backend=backend)
    shown = [
        [] if examples is None else examples_with_layer(examples, kind, temporary, device=device, backend=backend, subject=subject)
        for subject in chosen_subjects
    ]
    opened = {_identity(drivings[0]): drive}
    for one in drivings:
        if _identity(one) not in opened:
            clip = driving_clip(one, temporary, fps=fps)
            opened[_identity(one)] = with_layer(clip, kind, temporary, device=device, backend=backend)
    drives = [opened[_identity(one)] for one in drivings]
    given = None
    if start is not None:
        given = with_layer(driving_clip(start, temporary, fps=fps), kind, temporary, device=device, backend=backend)
    pictures = {
        name: with_layer(driving_clip(name, temporary, fps=fps), kind, temporary, device=device, backend=backend)
        for name in choices.pictures
    }
    others = [(clips[0], moves) for clips, moves in zip(shown[1:], drives[1:], strict=True) if clips]
    return Prepared(shown[0], drive, chosen, given, pictures, others)


def _identity(source: Source) -> str | int:
    """The same for a source that is named twice."""
    return id(source) if isinstance(source, Clip | np.ndarray) else str(source)


def _paired(driving: Source | Sequence[Source], subjects: Sequence[Subject]) -> tuple[list[Source], list[Subject]]:
    """A driving source for each subject of the photograph; a single one drives them all."""
    drivings: list[Source] = [*driving] if isinstance(driving, list | tuple) else [cast("Source", driving)]
    chosen = list(subjects) or ["largest"]
    if len(set(chosen)) < len(chosen):
        raise UsageError("a subject is chosen twice", code="subject-twice")
    if len(drivings) == 1:
        drivings *= len(chosen)
    if len(drivings) != len(chosen):
        raise UsageError(f"{len(drivings)} driving videos for {len(chosen)} subjects", code="driving-of-subjects")
    return drivings, chosen


def _model(model: Model | str | PathLike[str] | None, driving: Clip, base: str | PathLike[str] | None) -> Model:
    if model is None:
        return default_model(driving)
    return model if isinstance(model, Model) else load_model(model, base)


@overload
def synthesize(examples: Examples, driving: Source | Sequence[Source], out: str | PathLike[str], **options: Any) -> Outcome: ...


@overload
def synthesize(examples: Examples, driving: Source | Sequence[Source], out: None = None, **options: Any) -> Iterator[NDArray[np.uint8]]: ...


def synthesize(
    examples: Examples,
    driving: Source | Sequence[Source],
    out: str | PathLike[str] | None = None,
    *,
    subjects: Sequence[Subject] = (),
    model: Model | str | PathLike[str] | None = None,
    base: str | PathLike[str] | None = None,
    attention: str = "auto",
    backend: str = "auto",
    fps: float = 25,
    start: Source | None = None,
    report: str | PathLike[str] | None = None,
    overwrite: bool = False,
    reporter: Reporter | None = None,
    **options: Any,
) -> Outcome | Iterator[NDArray[np.uint8]]:
    """Animate the examples by the driving video.

    examples: images, a video, clips or arrays of one subject; None for a model that uses none, such as pix2pixHD. driving: a clip, a video
    or frames [T, H, W, 3] at `fps`. subjects: who moves in a photograph of several people: "largest", "center" or a number from the left,
    from 0; several of them with one driving video for all, or a list of one for each. out: the video or clip to write; without it the
    frames are returned, an iterator of uint8 RGB [H, W, 3]. model: by default the shipped one for the driving layer. base: the file that a
    finetuned model belongs to. backend: the landmark detector. start: real frames whose last ones precede the first frame, as a clip, a
    video, images or frames. report: a page (.html) to write about the result. options: the fields of
    `stages.synthesize.SynthesizeOptions`, for example `normalize="off"`, `finetune=60` or `appearance="car=sample:3"`.

    Raises InputError, NoDetection, UsageError, MissingRequirement, and ParametersDiffer when `out` was made otherwise and `overwrite` is
    not set.
    """
    chosen = SynthesizeOptions(**options)
    choose_device(chosen.device)  # before minutes of work, not after
    settings: dict[str, Any] = {
        "subjects": subjects,
        "model": model,
        "base": base,
        "attention": attention,
        "backend": backend,
        "device": chosen.device,
        "fps": fps,
        "start": start,
        "appearance": chosen.appearance,
        "motion": chosen.parsed_motion,
    }
    told = RecordingReporter(reporter or Reporter())
    if out is None:
        if report is not None:
            raise UsageError("a report is about a result that is written", hint="Name the result")
        return _frames(examples, driving, chosen, told, settings)
    request = _request(report, Path(out), told)
    with temporary_clips(told) as temporary:
        return _write(prepare(examples, driving, temporary, **settings), Path(out), chosen, told, overwrite, request)


def synthesize_variants(
    count: int,
    examples: Examples,
    driving: Source | Sequence[Source],
    out: str | PathLike[str],
    *,
    report: str | PathLike[str] | None = None,
    overwrite: bool = False,
    reporter: Reporter | None = None,
    appearance: str = "",
    **options: Any,
) -> Iterator[Outcome]:
    """`count` videos of one driving video that differ in their appearance, one after another: NAME-1.mp4, NAME-2.mp4, ... for NAME.mp4.

    What is drawn by `sample:SEED` in the appearance is drawn by SEED, SEED + 1, ...; without an appearance everything is drawn. The other
    parameters and errors are those of `synthesize`, which makes each of the videos. The reports are numbered, too.

    Raises UsageError if nothing is drawn.
    """
    if count < 1:
        raise UsageError(f"{count} variants are none")
    settings: dict[str, Any] = {name: options.pop(name) for name in SOURCES if name in options}
    chosen = [SynthesizeOptions(appearance=variant(appearance, number), **options) for number in range(count)]
    choose_device(chosen[0].device)
    told, paths = RecordingReporter(reporter or Reporter()), [_numbered(Path(out), number, count) for number in range(1, count + 1)]
    pages = [None if report is None else _numbered(Path(report), number, count) for number in range(1, count + 1)]
    requests = [_request(page, path, told) for page, path in zip(pages, paths, strict=True)]
    with temporary_clips(told) as temporary:
        first = chosen[0]
        settings |= {"device": first.device, "appearance": first.appearance, "motion": first.parsed_motion}
        ready = prepare(examples, driving, temporary, **settings)
        for path, each, request in zip(paths, chosen, requests, strict=True):
            yield _write(ready, path, each, told, overwrite, request)


def _numbered(path: Path, number: int, count: int) -> Path:
    return path.with_name(f"{path.stem}-{number:0{len(str(count))}}{path.suffix}")


def _request(report: str | PathLike[str] | None, out: Path, told: RecordingReporter) -> ReportRequest | None:
    """The page that is wanted about a result. Raises the errors of `require_writable` before minutes of work."""
    if report is None:
        return None
    request = ReportRequest(Path(report), told.messages, told.add_hint)
    request.require_writable(out)
    return request


def _write(
    ready: Prepared, out: Path, options: SynthesizeOptions, told: Reporter, overwrite: bool, report: ReportRequest | None
) -> Outcome:
    return write(
        ready.examples,
        ready.driving,
        ready.model,
        out,
        options,
        start=ready.start,
        pictures=ready.pictures,
        others=ready.others,
        overwrite=overwrite,
        report=report,
        progress=told.progress,
        perceptual=lambda: open_distance(choose_perceptual_for(ready.model, told), choose_device(options.device)),
    )


def _frames(
    examples: Examples, driving: Source | Sequence[Source], options: SynthesizeOptions, reporter: Reporter, settings: dict[str, Any]
) -> Iterator[NDArray[np.uint8]]:
    with temporary_clips(reporter) as temporary:
        ready = prepare(examples, driving, temporary, **settings)
        require_examples(len(ready.examples) > 0, ready.model, options.finetune)
        if options.retarget:
            require_film(ready.examples, ready.model, alone=ready.start is None and not ready.others)
        network = lambda: open_distance(choose_perceptual_for(ready.model, reporter), choose_device(options.device))  # noqa: E731
        with keeping_frames([*ready.examples, *(example for example, _ in ready.others)]):
            fitting = decide(options.normalize, ready.model.config.kind, ready.examples, ready.driving)
            placement = choose_placement(ready.examples, ready.model, options)
            opened = FilmRendering if options.retarget else Rendering
            rendering = opened(
                ready.examples, ready.driving, ready.model, options, fitting, network, ready.start, ready.pictures, placement
            )
            renderings = [rendering, *further(ready.others, ready.driving, rendering, ready.model, network)]
        for text in dict.fromkeys(text for each in renderings for text in each.warnings()):
            reporter.warning(temporary.with_sources(text))
        for text in dict.fromkeys(text for each in renderings for text in each.notes()):
            reporter.note(temporary.with_sources(text))
        for done, frame in enumerate(chained(renderings), 1):
            yield frame
            reporter.progress(done, rendering.driving.num_frames)


def finetune(
    examples: Source | Sequence[Source],
    out: str | PathLike[str],
    *,
    model: Model | str | PathLike[str] = "face-256",
    base: str | PathLike[str] | None = None,
    steps: int = 60,
    batch: int = 2,
    learning_rate: float = 1e-4,
    seed: int = 0,
    num_examples: int = 4,
    whole: bool = False,
    perceptual: str = "auto",
    backend: str = "auto",
    device: str = "auto",
    overwrite: bool = False,
    reporter: Reporter | None = None,
) -> Path:
    """Adapt a model to the examples and write it to `out`, a .safetensors file, which `load_model` reads. Returns `out`.

    It is a small file that belongs to the model it was made from, unless `whole` is set. Raises NoDetection when nothing is seen in the
    examples, ParametersDiffer when `out` was made otherwise and `overwrite` is not set.
    """
    from stages.finetune import FinetuneOptions, TuneOptions
    from stages.finetune import finetune as adapt

    told = reporter or Reporter()
    start = model if isinstance(model, Model) else load_model(model, base)
    tuning = TuneOptions(steps, batch, learning_rate, seed=seed)
    with temporary_clips(told) as temporary:
        prepared = examples_with_layer(examples, start.config.kind, temporary, device=device, backend=backend)
        network = choose_perceptual_for(start, told, perceptual)
        options = FinetuneOptions(tuning, num_examples, whole=whole, perceptual=network, device=device)
        adapt(prepared, start, Path(out), options, overwrite=overwrite, on_step=lambda step, loss: told.progress(step, steps, loss=loss))
    return Path(out)
