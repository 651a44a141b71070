"""fsv2v finetune: a model adapted to the images of one person, as one small file."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from stages.clip import Clip
from stages.compute.devices import choose_device
from stages.conditions.finetune_batches import finetune_batches
from stages.conditions.framing import Crop, examples_of
from stages.conditions.kinds import layers_digest, require_channels
from stages.errors import InputError, ParametersDiffer, UsageError
from stages.io.differences import differences
from stages.io.files import exclusive_lock
from stages.models import Model
from stages.models.bases import describe_base
from stages.models.files import read_model, save_delta, save_model
from stages.models.perceptual import choose_distance, open_distance
from stages.networks.common.generator import Generator
from stages.networks.common.tuning import TuneOptions, tune

__all__ = ["FinetuneOptions", "TuneOptions", "finetune"]


@dataclass(frozen=True)
class FinetuneOptions:
    """What shapes a finetuned model; all but `device` is stored in it."""

    tuning: TuneOptions = TuneOptions()
    num_examples: int = 4
    crop: Crop = "auto"
    whole: bool = False
    """Write all tensors, not the difference to the base alone."""
    perceptual: str = "auto"
    """Feature network of the perceptual loss, by its name (`stages.models.perceptual.choose_distance`)."""
    device: str = "auto"


def finetune(
    examples: Sequence[Clip],
    model: Model,
    out: Path,
    options: FinetuneOptions,
    *,
    overwrite: bool = False,
    on_step: Callable[[int, float], None] = lambda step, loss: None,
) -> str:
    """Adapt `model` to the examples and write it to `out` (.safetensors, float16). Returns "done" or "skipped".

    What is adapted: see `stages.networks.common.tuning`; `model` stays as it is. `out` is a delta: it is used together with the file that
    `model` came from, and of a delta it is the delta of the same base. Raises NoDetection (nothing seen in an example), ParametersDiffer
    (`out` was made otherwise), UsageError (`out` is the base, another process makes it, or the family has no examples).
    """
    if not model.generator.tuned:
        raise UsageError(
            f"{model.path} is of the family {model.config.family}, which learns nothing from examples", hint="Train it instead"
        )
    options = replace(options, perceptual=choose_distance(options.perceptual))
    settings = _settings(examples, model, options)
    with exclusive_lock(out):
        if out.exists() and not overwrite:
            return _skipped(out, settings)
        chosen = [
            e for clip in examples for e in examples_of(clip, model.config.kind, model.config.size, options.crop, options.num_examples)
        ]
        for example in chosen:
            require_channels(example.clip, len(example.sample.semantic), model.config.semantic_channels)
        if not chosen:
            raise InputError("there is no example to adapt to", hint="Name an image, a folder of images, a video or a clip")
        generator = copy.deepcopy(model.generator)
        save = _saver(out, model, generator, options.whole)
        device = choose_device(options.device)
        course = finetune_batches(chosen, options.tuning.batch, options.tuning.seed, device)
        tuned = tune(generator.to(device), course, options.tuning, open_distance(options.perceptual, device), on_step)
        save({**model.info, "finetuning": settings, "tuned": tuned})
        return "done"


def _settings(examples: Sequence[Clip], model: Model, options: FinetuneOptions) -> dict[str, Any]:
    kind = model.config.kind
    digests = {"examples": [clip.frames_digest() for clip in examples], "layers": [layers_digest(clip, kind) for clip in examples]}
    settings: dict[str, Any] = {**asdict(options), "model": model.sha256, **digests}
    del settings["device"]
    return settings


def _skipped(out: Path, settings: dict[str, Any]) -> str:
    made = read_model(out)[0].get("finetuning", {})
    if made == settings:
        return "skipped"
    changed = "; ".join(differences(made, settings))
    raise ParametersDiffer(f"{out} is there and was made otherwise ({changed})", code="output-differs")


def _saver(out: Path, model: Model, generator: Generator, whole: bool) -> Callable[[dict[str, Any]], None]:
    """Writes `generator`, made from `model`, as it will be then.

    The base is read now: it may be a run's snapshot, which the run removes in time.
    """
    if whole:
        return lambda info: save_model(out, generator.state_dict(), model.config, info)
    if out.exists() and out.samefile(model.whole):
        raise UsageError(f"{out} is the base of what is to be written there", code="output-is-base")
    base, of = describe_base(model.whole, model.whole_sha256, out), read_model(model.whole)[1]
    return lambda info: save_delta(out, generator.state_dict(), base, of, model.config, info)
