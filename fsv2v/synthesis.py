"""Animate examples by a driving video; adapt a model to examples."""

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
from stages.clip import Clip
from stages.compute.devices import choose_device
from stages.conditions.motion import UNCHANGED, Motion
from stages.errors import UsageError
from stages.models import Model
from stages.models.perceptual import open_distance
from stages.synthesize import (
    Choices,
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
    variant,
)
from stages.synthesize import synthesize as write

SOURCES = ("subjects", "model", "base", "attention", "backend", "fps", "start")
"""Parameters of `synthesize` and `prepare` that are not fields of `SynthesizeOptions`."""


class Prepared(NamedTuple):
    """The model, and all clips with the layer that drives it."""

    examples: list[Clip]
    driving: Clip
    model: Model
    start: Clip | None
    pictures: dict[str, Clip]
    """The clips from which the appearance is taken, by their paths in the option `appearance`."""
    others: list[tuple[Clip, Clip]]
    """(example clip, driving clip) of each further subject of the photograph."""


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
    choices = Choices.parse(appearance)
    drivers, chosen_subjects = _pair_with_subjects(driving, subjects)
    drive = driving_clip(drivers[0], temporary, fps=fps)
    if model is None and not any(kind in DEFAULT_MODELS for kind in drive.layers()):
        drive = with_layer(drive, "landmarks", temporary, device=device, backend=backend)
    chosen = _model(model, drive, base)
    chosen = chosen if attention == "auto" else chosen.with_attention(attention)
    require_appearance(appearance, chosen)
    require_face(motion, chosen)
    require_examples(examples is not None, chosen)
    kind = chosen.config.kind
    drive = with_layer(drive, kind, temporary, device=device, backend=backend)
    example_clips = [
        [] if examples is None else examples_with_layer(examples, kind, temporary, device=device, backend=backend, subject=subject)
        for subject in chosen_subjects
    ]
    drives = [
        drive if one is drivers[0] else with_layer(driving_clip(one, temporary, fps=fps), kind, temporary, device=device, backend=backend)
        for one in drivers
    ]
    start_clip = None
    if start is not None:
        start_clip = with_layer(driving_clip(start, temporary, fps=fps), kind, temporary, device=device, backend=backend)
    pictures = {
        name: with_layer(driving_clip(name, temporary, fps=fps), kind, temporary, device=device, backend=backend)
        for name in choices.pictures
    }
    others = [(clips[0], driver) for clips, driver in zip(example_clips[1:], drives[1:], strict=True) if clips]
    return Prepared(example_clips[0], drive, chosen, start_clip, pictures, others)


def _pair_with_subjects(driving: Source | Sequence[Source], subjects: Sequence[Subject]) -> tuple[list[Source], list[Subject]]:
    """(driving sources, subjects), one source for each subject of the photograph. A single source drives all subjects."""
    drivers: list[Source] = [*driving] if isinstance(driving, list | tuple) else [cast("Source", driving)]
    chosen = list(subjects) or ["largest"]
    if len(set(chosen)) < len(chosen):
        raise UsageError("a subject is chosen twice", code="subject-twice")
    if len(drivers) == 1:
        drivers *= len(chosen)
    if len(drivers) != len(chosen):
        raise UsageError(f"{len(drivers)} driving videos for {len(chosen)} subjects", code="driving-of-subjects")
    return drivers, chosen


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

    examples: images, a video, clips or arrays of one subject; None for a model that uses none, such as pix2pixHD.
    driving: a clip, a video or frames [T, H, W, 3] at `fps`. With several `subjects`, one for all or a list of one for each.
    out: the video or clip to write. Without it an iterator over the frames, uint8 RGB [H, W, 3], is returned.
    subjects: who moves in a photograph of several people: "largest", "center" or a number from the left, from 0.
    model: by default the shipped one for the driving layer.
    base: the file of the model from which a finetuned model was made.
    attention: "pixel", "compact", or "auto" for the attention with which the model was trained.
    backend: the landmark detector.
    start: real frames, as a clip, a video, images or arrays. The result continues after the last of them.
    report: a page (.html) to write about the result.
    options: the fields of `stages.synthesize.SynthesizeOptions`, for example `normalize="off"`, `finetune=60` or
    `appearance="car=sample:3"`.

    Raises InputError, NoDetection, UsageError, MissingRequirement, and ParametersDiffer when `out` was made with other options or inputs
    and `overwrite` is not set.
    """
    chosen = SynthesizeOptions(**options)
    choose_device(chosen.device)  # raises before minutes of work
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
    recorder = RecordingReporter(reporter or Reporter())
    if out is None:
        if report is not None:
            raise UsageError("a report is written only together with a result", hint="Give the file of the result as out")
        return _frames(examples, driving, chosen, recorder, settings)
    request = _report_request(report, Path(out), recorder)
    with temporary_clips(recorder) as temporary:
        return _write(prepare(examples, driving, temporary, **settings), Path(out), chosen, recorder, overwrite, request)


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
    """Make `count` videos of different appearance from one driving video, one after another: NAME-1.mp4, NAME-2.mp4, ... if `out` is
    NAME.mp4.

    A choice `sample:SEED` in `appearance` becomes SEED, SEED + 1, ... in the videos; without `appearance` all labels are sampled. The
    reports are numbered as the videos are. For the other parameters and errors see `synthesize`.

    Raises UsageError if `appearance` contains no sample.
    """
    if count < 1:
        raise UsageError(f"the number of variants is {count}; it must be at least 1")
    settings: dict[str, Any] = {name: options.pop(name) for name in SOURCES if name in options}
    chosen = [SynthesizeOptions(appearance=variant(appearance, number), **options) for number in range(count)]
    choose_device(chosen[0].device)
    recorder = RecordingReporter(reporter or Reporter())
    paths = [_numbered_path(Path(out), number, count) for number in range(1, count + 1)]
    pages = [None if report is None else _numbered_path(Path(report), number, count) for number in range(1, count + 1)]
    requests = [_report_request(page, path, recorder) for page, path in zip(pages, paths, strict=True)]
    with temporary_clips(recorder) as temporary:
        first = chosen[0]
        settings |= {"device": first.device, "appearance": first.appearance, "motion": first.parsed_motion}
        prepared = prepare(examples, driving, temporary, **settings)
        for path, variant_options, request in zip(paths, chosen, requests, strict=True):
            yield _write(prepared, path, variant_options, recorder, overwrite, request)


def _numbered_path(path: Path, number: int, count: int) -> Path:
    return path.with_name(f"{path.stem}-{number:0{len(str(count))}}{path.suffix}")


def _report_request(report: str | PathLike[str] | None, out: Path, recorder: RecordingReporter) -> ReportRequest | None:
    """The page to write about a result, or None. Raises what `require_writable` raises, before minutes of work."""
    if report is None:
        return None
    request = ReportRequest(Path(report), recorder.messages, recorder.add_hint)
    request.require_writable(out)
    return request


def _write(
    prepared: Prepared, out: Path, options: SynthesizeOptions, reporter: Reporter, overwrite: bool, report: ReportRequest | None
) -> Outcome:
    return write(
        prepared.examples,
        prepared.driving,
        prepared.model,
        out,
        options,
        start=prepared.start,
        pictures=prepared.pictures,
        others=prepared.others,
        overwrite=overwrite,
        report=report,
        progress=reporter.progress,
        perceptual=lambda: open_distance(choose_perceptual_for(prepared.model, reporter), choose_device(options.device)),
    )


def _frames(
    examples: Examples, driving: Source | Sequence[Source], options: SynthesizeOptions, reporter: Reporter, settings: dict[str, Any]
) -> Iterator[NDArray[np.uint8]]:
    with temporary_clips(reporter) as temporary:
        prepared = prepare(examples, driving, temporary, **settings)
        require_examples(len(prepared.examples) > 0, prepared.model, options.finetune)
        fitting = decide(options.normalize, prepared.model.config.kind, prepared.examples, prepared.driving)
        network = lambda: open_distance(choose_perceptual_for(prepared.model, reporter), choose_device(options.device))  # noqa: E731
        placement = choose_placement(prepared.examples, prepared.model, options)
        rendering = Rendering(
            prepared.examples, prepared.driving, prepared.model, options, fitting, network, prepared.start, prepared.pictures, placement
        )
        renderings = [rendering, *further(prepared.others, prepared.driving, rendering, prepared.model, network)]
        for text in dict.fromkeys(text for each in renderings for text in each.warnings()):
            reporter.warning(temporary.with_sources(text))
        for text in dict.fromkeys(text for each in renderings for text in each.notes()):
            reporter.note(temporary.with_sources(text))
        for done, frame in enumerate(chained(renderings), 1):
            yield frame
            reporter.progress(done, prepared.driving.num_frames)


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

    The file is small and needs `model` to be loaded, unless `whole` is set. Raises NoDetection when nothing is detected in the examples,
    ParametersDiffer when `out` was made with other options or inputs and `overwrite` is not set.
    """
    from stages.finetune import FinetuneOptions, TuneOptions
    from stages.finetune import finetune as adapt

    reporter = reporter or Reporter()
    start = model if isinstance(model, Model) else load_model(model, base)
    tuning = TuneOptions(steps, batch, learning_rate, seed=seed)
    with temporary_clips(reporter) as temporary:
        example_clips = examples_with_layer(examples, start.config.kind, temporary, device=device, backend=backend)
        network = choose_perceptual_for(start, reporter, perceptual)
        options = FinetuneOptions(tuning, num_examples, whole=whole, perceptual=network, device=device)

        def on_step(step: int, loss: float) -> None:
            reporter.progress(step, steps, loss=loss)

        adapt(example_clips, start, Path(out), options, overwrite=overwrite, on_step=on_step)
    return Path(out)
