"""The stage: render the frames of a driving clip and write them as they are made, once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from stages.clip import Clip, Producer, keeping_frames, sound_sync_warnings
from stages.conditions.kinds import find, layers_digest
from stages.conditions.motion import Motion
from stages.errors import InputError, UsageError
from stages.io.files import exclusive_lock
from stages.models import Model
from stages.networks.common.objective import PerceptualDistance
from stages.synthesize.appearance import Choices, require_appearance
from stages.synthesize.film import FilmRendering, common_length, require_film
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

    examples and driving need the layer that the model was trained on; a model of a family without examples is given none. The last frames
    of `start`, which has that layer, too, are the past of the first driving frame; they are not written. `pictures` are clips of those that
    `options.appearance` names, with that layer. The output has the driving clip's frame rate and sound, and a size by
    `choose_placement`. `perceptual` makes the distance that finetuning uses, if any. `report` is a page about
    the result; where there is none of a finished result, its frames are made again. Memory does not grow with the length.

    With `options.retarget` the example is a film: the result has its size, frame rate and frames, until one of the two ends.

    others: further subjects of the same photograph, each as a clip of it with that subject's layer, and a driving clip of the same length.

    Raises InputError, NoDetection, ParametersDiffer (`out` was made otherwise and `overwrite` is not set) and UsageError (a name that is
    neither video nor clip, another process makes it, the model wants examples and there are none, or the other way round, or it has no such
    appearance).
    """
    for clip in (*examples, driving, *([] if start is None else [start]), *pictures.values()):
        clip.require_other_path(out)
    require_examples(len(examples) > 0, model, options.finetune)
    require_face(options.parsed_motion, model)
    require_appearance(options.appearance, model)
    if options.retarget:
        require_film(examples, model, alone=start is None and not others)
    num_frames = common_length(examples[0], driving) if options.retarget else driving.num_frames
    if report is not None:
        report.require_writable(out)
    with exclusive_lock(out):
        with keeping_frames([*examples, *(example for example, _ in others)]):
            fitting = decide(options.normalize, model.config.kind, examples, driving)
            placement = choose_placement(examples, model, options)
            producer = _producer(examples, driving, model, options, fitting, placement, start, pictures, others)
            if not overwrite and is_finished(out, producer) and (report is None or report.is_of(producer)):
                return Outcome(out, "skipped", num_frames)
            begun = time.monotonic()
            opened = FilmRendering if options.retarget else Rendering
            rendering = opened(examples, driving, model, options, fitting, perceptual, start, pictures, placement)
            renderings = [rendering, *further(others, driving, rendering, model, perceptual)]
        record = None if report is None else Record(rendering)
        frames = chained(renderings, record)
        write_output(out, _counted(frames, num_frames, progress), rendering.driving, producer, rendering.keypoints())
        apart = [] if out.suffix == ".clip" else [f"{driving.id}: {text}" for text in sound_sync_warnings(driving)]
        warnings = tuple(dict.fromkeys([*(text for each in renderings for text in each.warnings()), *apart]))
        seconds, fallbacks = time.monotonic() - begun, sum(each.fallbacks for each in {each.renderer for each in renderings})
        held = sum(each.driving.held for each in renderings)
        notes = tuple(dict.fromkeys(text for each in renderings for text in each.notes()))
        outcome = Outcome(out, "done", num_frames, seconds, fallbacks, held, warnings, notes, placement, fitting)
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
    """The renderings of `others`, as of `synthesize`, after that of the first subject, which `driving` drives."""
    if others and not first.pasted:
        raise UsageError("several subjects move only in one photograph that is shown whole", code="group-not-pasted")
    made = []
    for example, drives in others:
        if drives.num_frames != driving.num_frames:
            lengths = f"{driving.id} has {driving.num_frames} frames, {drives.id} has {drives.num_frames}"
            raise InputError(f"the driving clips of one photograph differ in length: {lengths}", hint="Cut them to the same length")
        fitting = decide(first.options.normalize, model.config.kind, [example], drives)
        placement = choose_placement([example], model, replace(first.options, paste=True))
        shared = None if first.options.finetune else first.renderer
        made.append(Rendering([example], drives, model, first.options, fitting, perceptual, placement=placement, renderer=shared))
    return made


def chained(renderings: Sequence[Rendering], record: Record | None = None) -> Iterator[np.ndarray]:
    """The frames of the first rendering, with the subject of each further one moving in them, too.

    record: sees the parts of the first subject, and the frames with all of them.
    """
    made, seen = (None, None) if record is None else (record.made, record.frames)
    if record is not None and len(renderings) > 1:
        record.reasons.append("several subjects move: apart from the result, all that is shown is about the first of them")
    frames: Iterator[np.ndarray] | None = None
    for rendering in renderings:
        first, last = rendering is renderings[0], rendering is renderings[-1]
        frames = rendering.frames(frames, made if first else None, seen if last else None)
    assert frames is not None
    return frames


def require_examples(given: bool, model: Model, finetune: int = 0) -> None:
    """Raises UsageError unless there are examples where the model's family is made for them, and none where it is not.

    given: whether there are any; finetune: the number of steps on them. A model that makes no images is refused, too.
    """
    if model.config.makes_labels:
        raise UsageError(f"{model.path} predicts label maps and makes no images", code="model-makes-labels")
    if model.config.few_shot and not given:
        raise UsageError("there is no example", hint="Name an image, a folder of images, a video or a clip")
    if given and not model.config.few_shot:
        raise UsageError(f"a model of the family {model.config.family} uses no examples", hint="Leave them out")
    if finetune and not model.generator.tuned:
        raise UsageError(f"a model of the family {model.config.family} learns nothing from examples", hint="Leave out the finetuning")


def require_face(motion: Motion, model: Model) -> None:
    """Raises UsageError if the motion of a face is to be changed and the model shows none, or knows no example."""
    if motion.unchanged:
        return
    if not find(model.config.kind).expressive:
        shown = f"{model.path} is driven by {model.config.kind}"
        raise UsageError(f"only the motion of faces has a strength and parts, and {shown}", hint="Leave them out")
    if not model.config.few_shot:
        family = model.config.family
        raise UsageError(f"a model of the family {family} uses no examples, from which motion could be measured", hint="Leave it as it is")


def _counted(frames: Iterator[np.ndarray], total: int, progress: Progress) -> Iterator[np.ndarray]:
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
    for name in ("compile", "device", "size", "paste", "strength", "part", "motion", *(() if options.retarget else ("retarget",))):
        del parameters[name]
    if options.note:
        del parameters["note"]  # older outputs, which have none, stay finished
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
