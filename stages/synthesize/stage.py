"""The stage: render the frames of a driving clip and write them as they are made, once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from stages.clip import Clip, Producer, out_of_time
from stages.conditions.kinds import layers_digest
from stages.errors import UsageError
from stages.io.files import alone
from stages.models import Model
from stages.networks.common.objective import PerceptualDistance
from stages.synthesize.appearance import Choices, require_appearance
from stages.synthesize.fitting import Fitting, decide
from stages.synthesize.options import Outcome, SynthesizeOptions
from stages.synthesize.output import is_finished, write_output
from stages.synthesize.rendering import Rendering

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
    perceptual: Callable[[], PerceptualDistance | None] = lambda: None,
    overwrite: bool = False,
    progress: Progress = lambda done, total: None,
) -> Outcome:
    """Animate the examples by the driving clip and write `out`: a video (.mp4, .mkv, .mov) or a clip (.clip).

    examples and driving need the layer that the model was trained on; a model of a family without examples is given none. The last frames
    of `start`, which has that layer, too, are the past of the first driving frame; they are not written. `pictures` are clips of those that
    `options.appearance` names, with that layer. The output has the model's size, the driving clip's frame rate and its sound. `perceptual`
    makes the distance that finetuning uses, if any. Memory does not grow with the length.

    Raises InputError, NoDetection, ParametersDiffer (`out` was made otherwise and `overwrite` is not set) and UsageError (a name that is
    neither video nor clip, another process makes it, the model wants examples and there are none, or the other way round, or it has no such
    appearance).
    """
    for clip in (*examples, driving, *([] if start is None else [start]), *pictures.values()):
        clip.require_not(out)
    require_examples(len(examples) > 0, model, options.finetune)
    require_appearance(options.appearance, model)
    with alone(out):
        fitting = decide(options.normalize, model.config.kind, examples, driving)
        producer = _producer(examples, driving, model, options, fitting, start, pictures)
        if not overwrite and is_finished(out, producer):
            return Outcome(out, "skipped", driving.num_frames)
        begun = time.monotonic()
        rendering = Rendering(examples, driving, model, options, fitting, perceptual, start, pictures)
        write_output(out, _counted(rendering.frames(), driving.num_frames, progress), rendering.driving, producer)
        apart = [] if out.suffix == ".clip" else [f"{driving.id}: {text}" for text in out_of_time(driving)]
        warnings = tuple(dict.fromkeys([*rendering.warnings(), *apart]))
        seconds, fallbacks = time.monotonic() - begun, rendering.renderer.fallbacks
        return Outcome(out, "done", driving.num_frames, seconds, fallbacks, rendering.driving.held, warnings, fitting)


def require_examples(given: bool, model: Model, finetune: int = 0) -> None:
    """Raises UsageError unless there are examples where the model's family is made for them, and none where it is not.

    given: whether there are any; finetune: the number of steps on them. A model that makes no images is refused, too.
    """
    if model.config.makes_labels:
        raise UsageError(f"{model.path} predicts label maps, and makes no images", code="model-makes-labels")
    if model.config.few_shot and not given:
        raise UsageError("there is no example", hint="Name an image, a folder of images, a video or a clip")
    if given and not model.config.few_shot:
        raise UsageError(f"a model of the family {model.config.family} uses no examples", hint="Leave them out")
    if finetune and not model.generator.tuned:
        raise UsageError(f"a model of the family {model.config.family} learns nothing from examples", hint="Leave out the finetuning")


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
    start: Clip | None,
    pictures: Mapping[str, Clip],
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
    del parameters["compile"], parameters["device"]
    if model.config.appearance:
        parameters["appearance"] = str(Choices.parse(options.appearance))
        parameters["shown"] = [{"layers": layers_digest(clip, kind), "images": clip.frames_digest()} for clip in pictures.values()]
        if driving.has("flow") and not driving.has("instances"):
            parameters["flow"] = driving.layer("flow").digest
    else:
        del parameters["appearance"]
    return Producer("synthesize", model.config.kind, parameters, {"model": model.sha256}, options.seed, options.device)
