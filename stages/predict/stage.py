"""The stage: predict label maps and write them as a clip, which appears when it is complete."""

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
from stages.networks.common.inference import Renderer, Speed
from stages.predict.future import UNKNOWN, FutureMaps
from stages.predict.options import Outcome, PredictOptions

Progress = Callable[[int, int], None]
LEAST_OBSERVED = 2
"""Fewer frames show no motion."""
MAX_NUMBER = 255
"""Of an instance: the layer has 8 bits."""


def predict(
    clip: Clip,
    model: Model,
    out: Path,
    options: PredictOptions,
    *,
    overwrite: bool = False,
    progress: Progress = lambda done, total: None,
) -> Outcome:
    """Predict the label maps after those of `clip` and write them to `out`, a clip without frames that `synthesize` can be driven by.

    It has the clip's size, mean rate and label table. If the clip has the layer `instances`, so has the result; what no observed frame
    shows has no instance. Raises InputError (no layer `segment`, too few observed frames, other labels than the model's), InvalidClip (an
    id outside the table), ParametersDiffer (`out` was made otherwise and `overwrite` is not set) and UsageError (the model makes images,
    another process makes `out`).
    """
    if not model.config.makes_labels:
        raise UsageError(f"{model.path} makes images, and predicts no label maps", code="model-predicts-nothing")
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
        seen = observed[-model.config.past_frames :]
        renderer = Renderer(model.generator.to(choose_device(options.device)), Speed("fp32"))
        future = FutureMaps(renderer, track, seen, clip.height, clip.width)
        create_clip(
            out, fps=clip.fps, width=clip.width, height=clip.height, num_frames=options.frames, overwrite=overwrite,
            fill=partial(_write, future, clip, producer, inputs, progress),
        )  # fmt: skip
        return Outcome(out, "done", options.frames, time.monotonic() - begun, _warnings(clip, model, options, observed))


def _track(clip: Clip, model: Model) -> LabelTrack:
    """The label maps of a clip. Raises InputError when it has none, or others than the model was trained on."""
    track = open_track(clip, model.config.kind)
    if not isinstance(track, LabelTrack):
        raise UsageError(f"{model.path} is driven by {model.config.kind}, which are no label maps", code="model-predicts-nothing")
    wanted = model.config.labels
    if wanted and track.names != wanted:
        ours, theirs = ", ".join(track.names), ", ".join(wanted)
        raise InputError(f"{clip.path} has the labels {ours}, and the model was trained on {theirs}", code="labels-of-another-model")
    require_channels(clip, track.channels, model.config.semantic_channels)
    return track


def _observed(clip: Clip, options: PredictOptions) -> range:
    observed = range(clip.num_frames)[slice(*options.observed)]
    if len(observed) < LEAST_OBSERVED:
        found = "1 frame is" if len(observed) == 1 else "0 frames are"
        raise InputError(f"{clip.path}: {found} observed, and a future needs at least {LEAST_OBSERVED}", code="too-few-observed")
    return observed


def _write(future: FutureMaps, clip: Clip, producer: Producer, inputs: Mapping[str, str], progress: Progress, made: Clip) -> None:
    """Write the layer `segment`, and `instances` if the observed clip has it; memory does not grow with the number of frames."""
    labels = select_entries(clip.layer("segment").meta, "table", "names", "palette", "ids")
    with ExitStack() as stack:
        segment = stack.enter_context(made.writing("segment", producer, inputs, labels))
        if clip.has("instances"):
            things, none = _instances(clip)
            instances = stack.enter_context(made.writing("instances", producer, inputs, things))
        for done, (ids, numbers) in enumerate(future.maps(made.num_frames), 1):
            segment.image(ids)
            if numbers is not None:
                instances.image(np.where(numbers == UNKNOWN, none, numbers).astype(np.uint8))
            progress(done, made.num_frames)


def _instances(clip: Clip) -> tuple[dict[str, Any], int]:
    """What layer.json says about instances, and the number of what is none. Raises InputError when no number is left for that."""
    about = select_entries(clip.layer("instances").meta, "values", "ids")
    ids = about.get("ids")
    if not isinstance(ids, list):
        return about, 0
    if 0 in ids:
        return about, ids.index(0)
    if len(ids) > MAX_NUMBER:
        raise InputError(f"{clip.path} has {len(ids)} instances, which leave no number for what is none")
    return {**about, "ids": [*ids, 0]}, len(ids)


def _warnings(clip: Clip, model: Model, options: PredictOptions, observed: range) -> tuple[str, ...]:
    found = []
    if 0 < (longest := _longest(model)) < options.frames:
        found.append(f"{clip.id}: {options.frames} frames are predicted, but the model was trained on futures of up to {longest}")
    if len(observed) < (wanted := model.config.past_frames):
        found.append(f"{clip.id}: {len(observed)} frames are observed, but the model was trained on {wanted}: its motion is less certain")
    height, width = model.config.size
    if View.scaled(clip.height, clip.width, height, width).squeezes:
        shapes = f"{clip.width}x{clip.height} pixels, but the model was trained on the shape {width}x{height}"
        found.append(f"{clip.id} has {shapes}: crop it to that shape for a better future")
    return tuple(found)


def _longest(model: Model) -> int:
    """The longest future of the model's training; 0 if its file does not say."""
    try:
        return max(int(phase["frames"]) + int(phase.get("rollout", 0)) for phase in model.info["training"]["phases"])
    except READ_ERRORS:
        return 0
