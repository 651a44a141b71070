"""The stage `synthesize`: makes the frames of a result and writes each as soon as it is made."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from stages.clip import Clip, Producer, sound_sync_warnings
from stages.conditions.kinds import find, layers_digest
from stages.conditions.motion import Motion
from stages.errors import InputError, UsageError
from stages.io.files import exclusive_lock
from stages.models import Model
from stages.networks.common.objective import PerceptualDistance
from stages.synthesize.appearance import Choices, require_appearance
from stages.synthesize.fitting import Fitting, decide
from stages.synthesize.options import Outcome, SynthesizeOptions
from stages.synthesize.output import is_finished, write_output
from stages.synthesize.placement import Placement
from stages.synthesize.rendering import Rendering, choose_placement
from stages.synthesize.report import ReportRequest, write_report
from stages.synthesize.report.record import Record

Progress = Callable[[int, int], None]


def synthesize(
    examples: Sequence[Clip],
    driving: Clip,
    model: Model,
    out: Path,
    options: SynthesizeOptions,
    *,
    start: Clip | None = None,
    pictures: Mapping[str, Clip] = MappingProxyType({}),
    others: Sequence[tuple[Clip, Clip]] = (),
    perceptual: Callable[[], PerceptualDistance | None] = lambda: None,
    overwrite: bool = False,
    report: ReportRequest | None = None,
    progress: Progress = lambda done, total: None,
) -> Outcome:
    """Animate the examples by the driving clip and write `out`: a video (.mp4, .mkv, .mov) or a clip (.clip).

    All clips need the driving layer with which the model was trained. The output has the frame rate and the sound of the driving clip, and
    the size that `choose_placement` returns. Memory does not depend on the length.

    examples: empty for a model of a family without examples.
    start: its last frames precede the first driving frame; they are not written.
    pictures: path in `options.appearance` -> clip of that picture.
    others: (example, driving clip) of further subjects of the same photograph. The example is a clip of the photograph with that subject's
    layer; the driving clip has the same length as `driving`.
    perceptual: makes the perceptual distance for finetuning, if any.
    report: a page about the result. If a finished result has no page, its frames are made again.

    Raises InputError, NoDetection, ParametersDiffer (`out` was made by other options or inputs and `overwrite` is not set) and UsageError
    (`out` is neither a video nor a clip, or another process is making it; the model needs examples and there are none, or it uses none and
    there are some; it cannot produce the appearance).
    """
    for clip in (*examples, driving, *([] if start is None else [start]), *pictures.values()):
        clip.require_other_path(out)
    require_examples(len(examples) > 0, model, options.finetune)
    require_face(options.parsed_motion, model)
    require_appearance(options.appearance, model)
    if report is not None:
        report.require_writable(out)
    with exclusive_lock(out):
        fitting = decide(options.normalize, model.config.kind, examples, driving)
        placement = choose_placement(examples, model, options)
        producer = _producer(examples, driving, model, options, fitting, placement, start, pictures, others)
        if not overwrite and is_finished(out, producer) and (report is None or report.is_of(producer)):
            return Outcome(out, "skipped", driving.num_frames)
        started = time.monotonic()
        rendering = Rendering(examples, driving, model, options, fitting, perceptual, start, pictures, placement)
        renderings = [rendering, *further(others, driving, rendering, model, perceptual)]
        record = None if report is None else Record(rendering)
        frames = chained(renderings, record)
        write_output(out, _report_progress(frames, driving.num_frames, progress), rendering.driving, producer, rendering.shown_through())
        sound_warnings = [] if out.suffix == ".clip" else [f"{driving.id}: {text}" for text in sound_sync_warnings(driving)]
        warnings = tuple(dict.fromkeys([*(text for each in renderings for text in each.warnings()), *sound_warnings]))
        seconds, fallbacks = time.monotonic() - started, sum(each.renderer.fallbacks for each in renderings)
        held = sum(each.driving.held for each in renderings)
        notes = tuple(dict.fromkeys(text for each in renderings for text in each.notes()))
        outcome = Outcome(out, "done", driving.num_frames, seconds, fallbacks, held, warnings, notes, placement, fitting)
        if report is not None and record is not None:
            write_report(report, record, outcome, producer, model.path)
        return outcome


def further(
    others: Sequence[tuple[Clip, Clip]],
    driving: Clip,
    first: Rendering,
    model: Model,
    perceptual: Callable[[], PerceptualDistance | None] = lambda: None,
) -> list[Rendering]:
    """The renderings of further subjects. others: see `synthesize`; first: the rendering of the first subject; driving: its driving
    clip."""
    if others and not first.pasted:
        raise UsageError("several subjects can move only in a photograph into which they are pasted", code="group-not-pasted")
    renderings = []
    for example, driver in others:
        if driver.num_frames != driving.num_frames:
            lengths = f"{driving.id} has {driving.num_frames} frames, {driver.id} has {driver.num_frames}"
            raise InputError(f"the driving clips of one photograph differ in length: {lengths}", hint="Cut them to the same length")
        fitting = decide(first.options.normalize, model.config.kind, [example], driver)
        placement = choose_placement([example], model, replace(first.options, paste=True))
        renderings.append(Rendering([example], driver, model, first.options, fitting, perceptual, placement=placement))
    return renderings


def chained(renderings: Sequence[Rendering], record: Record | None = None) -> Iterator[np.ndarray]:
    """Frames in which the subjects of all renderings move.

    record: receives what the network made of the first subject, and the frames with all subjects.
    """
    made, seen = (None, None) if record is None else (record.made, record.frames)
    if record is not None and len(renderings) > 1:
        record.reasons.append("several subjects move: all but the result itself is about the first of them")
    frames: Iterator[np.ndarray] | None = None
    for rendering in renderings:
        first, last = rendering is renderings[0], rendering is renderings[-1]
        frames = rendering.frames(frames, made if first else None, seen if last else None)
    assert frames is not None
    return frames


def require_examples(given: bool, model: Model, finetune: int = 0) -> None:
    """Raises UsageError if the model needs examples and none are given, or uses none and some are given.

    given: whether there are examples; finetune: the number of finetuning steps. A model that makes label maps is refused, too.
    """
    if model.config.makes_labels:
        raise UsageError(f"{model.path} predicts label maps and makes no images", code="model-makes-labels")
    if model.config.few_shot and not given:
        raise UsageError("there is no example", hint="Give an image, a folder of images, a video or a clip")
    if given and not model.config.few_shot:
        raise UsageError(f"a model of the family {model.config.family} uses no examples", hint="Leave them out")
    if finetune and not model.generator.tuned:
        raise UsageError(f"a model of the family {model.config.family} cannot be finetuned on examples", hint="Leave out the finetuning")


def require_face(motion: Motion, model: Model) -> None:
    """Raises UsageError if `motion` changes the motion of a face and the model shows no faces or uses no examples."""
    if motion.unchanged:
        return
    if not find(model.config.kind).expressive:
        shown = f"{model.path} is driven by {model.config.kind}"
        raise UsageError(f"only the motion of faces has a strength and parts, and {shown}", hint="Leave them out")
    if not model.config.few_shot:
        family = model.config.family
        raise UsageError(
            f"a model of the family {family} uses no examples, from which motion could be measured", hint="Leave the motion as it is"
        )


def _report_progress(frames: Iterator[np.ndarray], total: int, progress: Progress) -> Iterator[np.ndarray]:
    """The same frames; `progress` is called after each."""
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
    pictures: Mapping[str, Clip],
    others: Sequence[tuple[Clip, Clip]],
) -> Producer:
    kind = model.config.kind
    parameters: dict[str, Any] = {
        **asdict(options),
        **model.config.recorded(),
        "driving": layers_digest(driving, kind),
    }
    parameters["examples"] = [layers_digest(clip, kind) for clip in examples]
    parameters["pictures"] = [clip.frames_digest() for clip in examples if clip.has("frames")]
    if start is not None:
        parameters["start"] = {"layers": layers_digest(start, kind), "images": start.frames_digest()}
    if fitting.how == "place":
        parameters["fitting"] = fitting.how
    for name in ("compile", "device", "size", "paste", "strength", "part", "motion"):
        del parameters[name]
    if options.note:
        del parameters["note"]  # so that outputs from before this option are still up to date
    if placement is not None:
        parameters["placement"] = asdict(placement)
    if others:
        parameters["others"] = [[layers_digest(clip, kind) for clip in pair] for pair in others]
    parameters |= options.motion_of(kind, placement, fitting).key_entries()
    if model.config.appearance:
        parameters["appearance"] = str(Choices.parse(options.appearance))
        parameters["shown"] = [{"layers": layers_digest(clip, kind), "images": clip.frames_digest()} for clip in pictures.values()]
        if driving.has("flow") and not driving.has("instances"):
            parameters["flow"] = driving.layer("flow").digest
    else:
        del parameters["appearance"]
    return Producer("synthesize", model.config.kind, parameters, {"model": model.sha256}, options.seed, options.device)
