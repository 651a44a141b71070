"""The stage: predicts label maps and writes them as a clip, which appears under its name when it is complete."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from stages.clip import Clip, Producer, create_clip, open_clip
from stages.clip.create import require_replaceable
from stages.compute.devices import choose_device
from stages.conditions.kinds import open_track, require_channels
from stages.conditions.kinds.streets import LabelTrack
from stages.conditions.source_clip import select_entries
from stages.conditions.view import View
from stages.errors import READ_ERRORS, InputError, UsageError
from stages.io.files import exclusive_lock
from stages.models import Model
from stages.networks.common.inference import InferenceOptions, Renderer
from stages.predict.future import UNKNOWN, FutureMaps
from stages.predict.options import Outcome, PredictOptions

Progress = Callable[[int, int], None]
MIN_OBSERVED = 2
"""Smallest number of observed frames; a single frame shows no motion."""
MAX_INSTANCE = 255
"""Largest instance number, because the layer has 8 bits."""


def predict(
    clip: Clip,
    model: Model,
    out: Path,
    options: PredictOptions,
    *,
    overwrite: bool = False,
    progress: Progress = lambda done, total: None,
) -> Outcome:
    """Predict the label maps that follow the observed ones of `clip` and write them to `out`.

    `out` is a clip without frames, which can drive `synthesize`. The result has the size, mean rate and label table of `clip`, and the
    layer `instances` if `clip` has it. Pixels of new objects belong to no instance.

    Raises InputError (no layer `segment`, too few observed frames, other labels than the model's), InvalidClip (an id outside the table),
    ParametersDiffer (`out` was made with other parameters and `overwrite` is not set) and UsageError (the model makes images, another
    process makes `out`).
    """
    if not model.config.makes_labels:
        raise UsageError(f"{model.path} makes images and predicts no label maps", code="model-predicts-nothing")
    if options.frames < 1:
        raise UsageError(f"{options.frames} frames cannot be predicted", hint="Choose a number from 1")
    clip.require_other_path(out)
    track = _track(clip, model)
    observed = _observed(clip, options)
    with exclusive_lock(out):
        inputs = {layer: clip.layer(layer).digest for layer in ("segment", "instances") if clip.has(layer)}
        parameters = {"frames": options.frames, "observed": [observed.start, observed.stop]}
        producer = Producer("predict", model.config.family, parameters, {"model": model.sha256}, device=options.device)
        if out.exists() and not overwrite:
            require_replaceable(out)
            if not open_clip(out).needs("segment", producer, inputs):
                return Outcome(out, "skipped", options.frames)
        begun = time.monotonic()
        renderer = Renderer(model.generator.to(choose_device(options.device)), InferenceOptions("fp32"))
        future = FutureMaps(renderer, track, observed[-model.config.past_frames :], clip.height, clip.width)
        create_clip(
            out, fps=clip.fps, width=clip.width, height=clip.height, num_frames=options.frames, overwrite=overwrite,
            fill=partial(_write, future, clip, producer, inputs, progress),
        )  # fmt: skip
        return Outcome(out, "done", options.frames, time.monotonic() - begun, _warnings(clip, model, options, observed))


def _track(clip: Clip, model: Model) -> LabelTrack:
    """The track of the label maps of a clip.

    Raises InputError when it has no label maps or other labels than the model, UsageError when the model is not driven by label maps or
    expects another number of channels.
    """
    track = open_track(clip, model.config.kind)
    if not isinstance(track, LabelTrack):
        raise UsageError(f"{model.path} is driven by {model.config.kind}, which are not label maps", code="model-predicts-nothing")
    if model.config.labels and track.names != model.config.labels:
        labels, expected = ", ".join(track.names), ", ".join(model.config.labels)
        raise InputError(f"{clip.path} has the labels {labels}, and the model was trained on {expected}", code="labels-of-another-model")
    require_channels(clip, track.channels, model.config.semantic_channels)
    return track


def _observed(clip: Clip, options: PredictOptions) -> range:
    """The indices of the observed frames. Raises InputError when there are too few."""
    observed = range(clip.num_frames)[slice(*options.observed)]
    if len(observed) < MIN_OBSERVED:
        count = "1 frame is" if len(observed) == 1 else "0 frames are"
        raise InputError(f"{clip.path}: {count} observed, and a prediction needs at least {MIN_OBSERVED}", code="too-few-observed")
    return observed


def _write(future: FutureMaps, clip: Clip, producer: Producer, inputs: Mapping[str, str], progress: Progress, target: Clip) -> None:
    """Write the layer `segment` of `target`, and `instances` if the observed `clip` has it, one frame at a time."""
    labels = select_entries(clip.layer("segment").meta, "table", "names", "palette", "ids")
    with ExitStack() as stack:
        segment = stack.enter_context(target.writing("segment", producer, inputs, labels))
        if clip.has("instances"):
            entries, no_instance = _instance_entries(clip)
            instances = stack.enter_context(target.writing("instances", producer, inputs, entries))
        for done, (ids, numbers) in enumerate(future.maps(target.num_frames), 1):
            segment.image(ids)
            if numbers is not None:
                instances.image(np.where(numbers == UNKNOWN, no_instance, numbers).astype(np.uint8))
            progress(done, target.num_frames)


def _instance_entries(clip: Clip) -> tuple[dict[str, Any], int]:
    """Entries for layer.json of `instances`, and the number for pixels of no instance. Raises InputError when no number is free for it."""
    entries = select_entries(clip.layer("instances").meta, "values", "ids")
    ids = entries.get("ids")
    if not isinstance(ids, list):
        return entries, 0
    if 0 in ids:
        return entries, ids.index(0)
    if len(ids) > MAX_INSTANCE:
        raise InputError(f"{clip.path} has {len(ids)} instances, which leave no number for pixels of no instance")
    return {**entries, "ids": [*ids, 0]}, len(ids)


def _warnings(clip: Clip, model: Model, options: PredictOptions, observed: range) -> tuple[str, ...]:
    """Sentences about differences from the training of the model that make the prediction worse."""
    warnings = []
    if 0 < (longest := _longest_training_window(model)) < options.frames:
        warnings.append(f"{clip.id}: {options.frames} frames are predicted, but the model was trained to predict at most {longest}")
    if len(observed) < (past_frames := model.config.past_frames):
        short = f"{len(observed)} frames are observed, but the model was trained on {past_frames}"
        warnings.append(f"{clip.id}: {short}: its motion is less certain")
    height, width = model.config.size
    if View.scaled(clip.height, clip.width, height, width).squeezes:
        shapes = f"{clip.width}x{clip.height} pixels, but the model was trained on the shape {width}x{height}"
        warnings.append(f"{clip.id} has {shapes}: crop it to that shape for a better prediction")
    return tuple(warnings)


def _longest_training_window(model: Model) -> int:
    """The largest number of frames that were predicted in a row in training; 0 if the model's file does not say."""
    try:
        return max(int(phase["frames"]) + int(phase.get("rollout", 0)) for phase in model.info["training"]["phases"])
    except READ_ERRORS:
        return 0
