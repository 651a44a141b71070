"""The stage: makes the frames of a driving clip and writes each as soon as it is made. A finished result is not made again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from stages.clip import Clip, Producer, keeping_frames, sound_sync_warnings
from stages.conditions.kinds import layers_digest
from stages.io.files import exclusive_lock
from stages.models import Model
from stages.networks.common.objective import PerceptualDistance
from stages.synthesize.appearance import Choices
from stages.synthesize.film import common_length
from stages.synthesize.fitting import Fitting, decide
from stages.synthesize.options import Outcome, SynthesizeOptions
from stages.synthesize.output import is_finished, write_output
from stages.synthesize.own_size import size_of_frames
from stages.synthesize.placement import Placement
from stages.synthesize.rendering import EncodedExamples, choose_placement
from stages.synthesize.report import ReportRequest, write_report
from stages.synthesize.report.record import Record
from stages.synthesize.scene import Scene, example_clips, require_inputs

Progress = Callable[[int, int], None]


def synthesize(
    examples: Sequence[Clip],
    driving: Clip,
    model: Model,
    out: Path,
    options: SynthesizeOptions,
    *,
    start: Clip | None = None,
    appearance_images: Mapping[str, Clip] = MappingProxyType({}),
    others: Sequence[tuple[Clip, Clip]] = (),
    perceptual: Callable[[], PerceptualDistance | None] = lambda: None,
    encoded: EncodedExamples | None = None,
    overwrite: bool = False,
    report: ReportRequest | None = None,
    progress: Progress = lambda done, total: None,
) -> Outcome:
    """Animate the examples by the driving clip and write `out`: a video (.mp4, .mkv, .mov) or a clip (.clip).

    The result has the driving clip's frame rate and sound. `choose_placement` decides its size; if it returns None, `size_of_frames` does.
    With `options.retarget` the example is a film: the result has its size, frame rate and frames, until the film or the driving clip ends.
    Memory does not grow with the length.

    examples, driving: with the layer that the model was trained on. examples is empty for a model of a family without examples.
    start: its last frames precede the first driving frame; they are not written.
    appearance_images: path in `options.appearance` -> clip of that image.
    others: (example, driving clip) of further subjects of the same photograph. The example is a clip of the photograph with that subject's
    layer; the driving clip has the same length as `driving`.
    perceptual: makes the perceptual distance for finetuning, if any.
    encoded: the same examples, if they were encoded with this model and these options for another driving clip.
    report: a page about the result. If a finished result has no page, its frames are made again.

    Raises InputError, NoDetection, ParametersDiffer (`out` was made with other parameters and `overwrite` is not set) and UsageError (the
    name is neither that of a video nor of a clip, another process makes it, or the model does not fit the examples or options).
    """
    for clip in (*examples, driving, *([] if start is None else [start]), *appearance_images.values()):
        clip.require_other_path(out)
    require_inputs(examples, model, options, start, others)
    num_frames = common_length(examples[0], driving) if options.retarget else driving.num_frames
    if report is not None:
        report.require_writable(out)
    with exclusive_lock(out):
        with keeping_frames(example_clips(examples, others)):
            fitting = decide(options.normalize, model.config.kind, examples, driving)
            placement = choose_placement(examples, model, options)
            producer = _producer(examples, driving, model, options, fitting, placement, start, appearance_images, others)
            if not overwrite and is_finished(out, producer) and (report is None or report.is_of(producer)):
                return Outcome(out, "skipped", num_frames)
            started = time.monotonic()
            scene = Scene(
                examples, driving, model, options, start=start, appearance_images=appearance_images, others=others, perceptual=perceptual,
                encoded=encoded, decided=(fitting, placement),
            )  # fmt: skip
        record = None if report is None else Record(scene.first)
        frames = _report_progress(scene.frames(record), num_frames, progress)
        write_output(out, frames, scene.first.driving, producer, scene.first.keypoints())
        sound_warnings = [] if out.suffix == ".clip" else [f"{driving.id}: {text}" for text in sound_sync_warnings(driving)]
        warnings = tuple(dict.fromkeys([*scene.warnings(), *sound_warnings]))
        seconds = time.monotonic() - started
        outcome = Outcome(out, "done", num_frames, seconds, scene.fallbacks, scene.held, warnings, scene.notes(), placement, fitting)
        if report is not None and record is not None:
            write_report(report, record, outcome, producer, model.path)
        return outcome


def _report_progress(frames: Iterator[np.ndarray], total: int, progress: Progress) -> Iterator[np.ndarray]:
    for done, frame in enumerate(frames, 1):
        yield frame
        progress(done, total)


def _producer(
    examples: Sequence[Clip],
    driving: Clip,
    model: Model,
    options: SynthesizeOptions,
    fitting: Fitting,
    placement: Placement | None,
    start: Clip | None,
    appearance_images: Mapping[str, Clip],
    others: Sequence[tuple[Clip, Clip]],
) -> Producer:
    kind = model.config.kind
    parameters: dict[str, Any] = {
        **asdict(options),
        **model.config.key_entries(),
        "driving": layers_digest(driving, kind),
    }
    parameters["examples"] = [layers_digest(clip, kind) for clip in examples]
    parameters["pictures"] = [clip.frames_digest() for clip in examples if clip.has("frames")]
    if start is not None:
        parameters["start"] = {"layers": layers_digest(start, kind), "images": start.frames_digest()}
    if fitting.method == "place":
        parameters["fitting"] = fitting.method
    for name in ("compile", "device", "size", "paste", "strength", "part", "motion", *(() if options.retarget else ("retarget",))):
        del parameters[name]
    if options.note:
        del parameters["note"]  # the keys of older outputs, which lack this entry, stay valid
    if placement is not None:
        parameters["placement"] = asdict(placement)
    if (size := size_of_frames(driving, model.config, options)) != model.config.size:
        parameters["frame_size"] = list(size)
    if others:
        parameters["others"] = [[layers_digest(clip, kind) for clip in pair] for pair in others]
    parameters |= options.motion_of(kind, placement, fitting).key_entries()
    if model.config.appearance:
        parameters["appearance"] = str(Choices.parse(options.appearance))
        parameters["shown"] = [{"layers": layers_digest(clip, kind), "images": clip.frames_digest()} for clip in appearance_images.values()]
        if driving.has("flow") and not driving.has("instances"):
            parameters["flow"] = driving.layer("flow").digest
    else:
        del parameters["appearance"]
    return Producer("synthesize", model.config.kind, parameters, {"model": model.sha256}, options.seed, options.device)
