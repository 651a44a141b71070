"""Examples and a driving video become frames; a model is adapted to examples."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from fsv2v.inputs import Prepared, Time, prepare
from fsv2v.models import choose_perceptual_for, load_model
from fsv2v.reporting import RecordingReporter, Reporter
from fsv2v.sources import Examples, Source, Subject, examples_with_layer, temporary_clips
from stages.compute.devices import choose_device
from stages.errors import UsageError
from stages.models import Model
from stages.models.perceptual import open_distance
from stages.networks.common.objective import PerceptualDistance
from stages.synthesize import (
    EncodedExamples,
    Outcome,
    ReportRequest,
    Scene,
    SynthesizeOptions,
    require_inputs,
    require_sheet,
    variant,
    write_preview,
)
from stages.synthesize import synthesize as write

INPUT_PARAMETERS = ("subjects", "model", "base", "attention", "backend", "fps", "start", "time")
"""Parameters of `synthesize` and `Inputs` that are not fields of `SynthesizeOptions`."""


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
    time: Time = (None, None),
    report: str | PathLike[str] | None = None,
    overwrite: bool = False,
    reporter: Reporter | None = None,
    **options: Any,
) -> Outcome | Iterator[NDArray[np.uint8]]:
    """Animate the examples by the driving video.

    examples: images, a video, clips or arrays of one subject; None for a model that uses none, such as pix2pixHD.
    driving: a clip, a video or frames [T, H, W, 3] at `fps`; with several subjects also a list with one for each.
    out: the video or clip to write. Without it the frames are returned, as an iterator of uint8 RGB [H, W, 3].
    subjects: the people who move in a photograph of several: "largest", "center" or a number from the left, from 0.
    model: by default the shipped model for the driving layer.
    base: the model from which a finetuned model was made.
    attention: "pixel" or "compact"; "auto": as the model was trained.
    backend: the landmark detector.
    start: real frames as a clip, a video, images or an array; the result continues from the last of them.
    time: start and stop, in seconds, of the part of the driving video and its sound that is used.
    report: a page (.html) to write about the result.
    options: the fields of `stages.synthesize.SynthesizeOptions`, for example `normalize="off"`, `finetune=60` or
        `appearance="car=sample:3"`.

    Raises InputError, NoDetection, UsageError, MissingRequirement, and ParametersDiffer when `out` was made with other inputs or options
    and `overwrite` is not set. `synthesize_many` makes a video for each of several driving videos, `preview` a sheet of some frames.
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
        "time": time,
        "appearance": chosen.appearance,
        "motion": chosen.parsed_motion,
    }
    recorder = RecordingReporter(reporter or Reporter())
    if out is None:
        if report is not None:
            raise UsageError("a report is about a result that is written", hint="Name the result")
        return _frames(examples, driving, chosen, recorder, settings)
    request = _request(report, Path(out), recorder)
    with temporary_clips(recorder) as temporary:
        return write_result(prepare(examples, driving, temporary, **settings), Path(out), chosen, recorder, overwrite, request)


def preview(
    examples: Examples,
    driving: Source | Sequence[Source],
    out: str | PathLike[str],
    *,
    reporter: Reporter | None = None,
    **options: Any,
) -> Outcome:
    """Write a PNG of some frames that `synthesize` would make with the same parameters, beside their driving frames and the example.

    The frames are spread evenly over the driving video. Each is made without a previous frame, and missing layers are extracted only in a
    few frames of the video. Parameters and errors are those of `synthesize`, without `report` and `overwrite`. An older sheet at `out` is
    replaced.
    """
    settings: dict[str, Any] = {name: options.pop(name) for name in INPUT_PARAMETERS if name in options}
    chosen, recorder = SynthesizeOptions(**options), reporter or Reporter()
    choose_device(chosen.device)
    settings |= {"device": chosen.device, "appearance": chosen.appearance, "motion": chosen.parsed_motion}
    settings["preview"] = not chosen.retarget  # a film needs the driver's expression at any moment
    require_sheet(Path(out))
    with temporary_clips(recorder) as temporary:
        ready = prepare(examples, driving, temporary, **settings)
        return draw_preview(ready, Path(out), chosen, recorder)


def draw_preview(
    ready: Prepared, out: Path, options: SynthesizeOptions, recorder: Reporter, encoded: EncodedExamples | None = None
) -> Outcome:
    """The sheet of `preview`."""
    started = time.monotonic()
    return write_preview(_open_scene(ready, replace(options, compare=False), recorder, encoded), out, started)


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

    All numbers have as many digits as `count`: NAME-01.mp4 if `count` is 10.

    `sample:SEED` in the appearance stands for SEED in the first video, SEED + 1 in the second, and so on. Without an appearance, the
    appearance of all labels is sampled. The other parameters and errors are those of `synthesize`, which makes each of the videos. The
    reports are numbered, too.

    Raises UsageError if nothing is sampled.
    """
    if count < 1:
        raise UsageError(f"the number of variants must be at least 1, not {count}")
    settings: dict[str, Any] = {name: options.pop(name) for name in INPUT_PARAMETERS if name in options}
    chosen = [SynthesizeOptions(appearance=variant(appearance, number), **options) for number in range(count)]
    choose_device(chosen[0].device)
    recorder, paths = RecordingReporter(reporter or Reporter()), [_numbered(Path(out), number, count) for number in range(1, count + 1)]
    pages = [None if report is None else _numbered(Path(report), number, count) for number in range(1, count + 1)]
    requests = [_request(page, path, recorder) for page, path in zip(pages, paths, strict=True)]
    with temporary_clips(recorder) as temporary:
        first = chosen[0]
        settings |= {"device": first.device, "appearance": first.appearance, "motion": first.parsed_motion}
        ready = prepare(examples, driving, temporary, **settings)
        for path, each, request in zip(paths, chosen, requests, strict=True):
            yield write_result(ready, path, each, recorder, overwrite, request)


def _numbered(path: Path, number: int, count: int) -> Path:
    return path.with_name(f"{path.stem}-{number:0{len(str(count))}}{path.suffix}")


def _request(report: str | PathLike[str] | None, out: Path, recorder: RecordingReporter) -> ReportRequest | None:
    """The request for a page about a result. Raises the errors of `require_writable` now, and not after minutes of work."""
    if report is None:
        return None
    request = ReportRequest(Path(report), recorder.messages, recorder.add_hint)
    request.require_writable(out)
    return request


def write_result(
    ready: Prepared,
    out: Path,
    options: SynthesizeOptions,
    recorder: Reporter,
    overwrite: bool,
    report: ReportRequest | None,
    encoded: EncodedExamples | None = None,
) -> Outcome:
    """Write a video or clip. encoded: the examples as they were encoded for another driving video."""
    return write(
        ready.examples,
        ready.driving,
        ready.model,
        out,
        options,
        **_shared_arguments(ready, options, recorder),
        encoded=encoded,
        overwrite=overwrite,
        report=report,
        progress=recorder.progress,
    )


def _frames(
    examples: Examples, driving: Source | Sequence[Source], options: SynthesizeOptions, reporter: Reporter, settings: dict[str, Any]
) -> Iterator[NDArray[np.uint8]]:
    with temporary_clips(reporter) as temporary:
        ready = prepare(examples, driving, temporary, **settings)
        scene = _open_scene(ready, options, reporter)
        for text in scene.warnings():
            reporter.warning(temporary.with_sources(text))
        for text in scene.notes():
            reporter.note(temporary.with_sources(text))
        for done, frame in enumerate(scene.frames(), 1):
            yield frame
            reporter.progress(done, scene.first.driving.num_frames)


def _open_scene(ready: Prepared, options: SynthesizeOptions, reporter: Reporter, encoded: EncodedExamples | None = None) -> Scene:
    require_inputs(ready.examples, ready.model, options, ready.start, ready.others)
    return Scene(ready.examples, ready.driving, ready.model, options, **_shared_arguments(ready, options, reporter), encoded=encoded)


def _shared_arguments(ready: Prepared, options: SynthesizeOptions, reporter: Reporter) -> dict[str, Any]:
    """The keyword arguments that `Scene` and the stage have in common."""

    def perceptual() -> PerceptualDistance | None:
        return open_distance(choose_perceptual_for(ready.model, reporter), choose_device(options.device))

    return {"start": ready.start, "appearance_images": ready.appearance_images, "others": ready.others, "perceptual": perceptual}


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

    The file contains only the changes, so `load_model` also needs the model from which it was made, unless `whole` is set. Raises
    NoDetection when nothing is detected in the examples, ParametersDiffer when `out` was made with other inputs or parameters and
    `overwrite` is not set.
    """
    from stages.finetune import FinetuneOptions, TuneOptions
    from stages.finetune import finetune as adapt

    recorder = reporter or Reporter()
    start = model if isinstance(model, Model) else load_model(model, base)
    tuning = TuneOptions(steps, batch, learning_rate, seed=seed)
    with temporary_clips(recorder) as temporary:
        prepared = examples_with_layer(examples, start.config.kind, temporary, device=device, backend=backend)
        network = choose_perceptual_for(start, recorder, perceptual)
        options = FinetuneOptions(tuning, num_examples, whole=whole, perceptual=network, device=device)
        adapt(
            prepared, start, Path(out), options, overwrite=overwrite, on_step=lambda step, loss: recorder.progress(step, steps, loss=loss)
        )
    return Path(out)
