"""fsv2v finetune: adapts a model to example images of one person, and writes the difference as a small file."""

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
    """Options of finetuning. All except `device` are stored in the model."""

    tuning: TuneOptions = TuneOptions()
    num_examples: int = 4
    """Largest number of examples from each clip."""
    crop: Crop = "auto"
    whole: bool = False
    """Whether a whole model is written, and not only the difference to its base."""
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
    """Finetune a copy of `model` on the examples and write it to `out` (.safetensors, float16). Returns "done" or "skipped".

    Unless `options.whole` is set, `out` is a delta, which is used together with its base: the file of `model`, or if `model` is a delta
    itself, the base of `model`.
    `stages.networks.common.tuning` describes the training.

    Raises InputError (no examples), NoDetection (nothing detected in an example), ParametersDiffer (`out` was made with other options),
    UsageError (`out` is the base, another process makes `out`, or the family cannot be finetuned).
    """
    if not model.generator.tuned:
        raise UsageError(
            f"{model.path} is of the family {model.config.family}, which cannot be finetuned on examples", hint="Train it instead"
        )
    options = replace(options, perceptual=choose_distance(options.perceptual))
    settings = _settings(examples, model, options)
    with exclusive_lock(out):
        if out.exists() and not overwrite:
            return _require_same(out, settings)
        kind, size = model.config.kind, model.config.size
        chosen = [example for clip in examples for example in examples_of(clip, kind, size, options.crop, options.num_examples)]
        for example in chosen:
            require_channels(example.clip, len(example.sample.semantic), model.config.semantic_channels)
        if not chosen:
            raise InputError("there is no example to adapt to", hint="Name an image, a folder of images, a video or a clip")
        generator = copy.deepcopy(model.generator)
        save = _prepare_save(out, model, generator, options.whole)
        device = choose_device(options.device)
        batches = finetune_batches(chosen, options.tuning.batch, options.tuning.seed, device)
        tuned = tune(generator.to(device), batches, options.tuning, open_distance(options.perceptual, device), on_step)
        save({**model.info, "finetuning": settings, "tuned": tuned})
        return "done"


def _settings(examples: Sequence[Clip], model: Model, options: FinetuneOptions) -> dict[str, Any]:
    """Everything that determines the finetuned model, as stored in its header."""
    kind = model.config.kind
    digests = {"examples": [clip.frames_digest() for clip in examples], "layers": [layers_digest(clip, kind) for clip in examples]}
    settings: dict[str, Any] = {**asdict(options), "model": model.sha256, **digests}
    del settings["device"]
    return settings


def _require_same(out: Path, settings: dict[str, Any]) -> str:
    """ "skipped", if the existing model `out` has the same settings. Raises ParametersDiffer otherwise."""
    existing = read_model(out)[0].get("finetuning", {})
    if existing == settings:
        return "skipped"
    changed = "; ".join(differences(existing, settings))
    raise ParametersDiffer(f"{out} exists and was made with other settings ({changed})", code="output-differs")


def _prepare_save(out: Path, model: Model, generator: Generator, whole: bool) -> Callable[[dict[str, Any]], None]:
    """A function that writes `generator`, a copy of that of `model`, to `out` after finetuning. It takes the header's entries.

    The base is read now, because it may be a snapshot that its run removes before the finetuning ends. Raises UsageError if `out` is the
    base.
    """
    if whole:
        return lambda info: save_model(out, generator.state_dict(), model.config, info)
    if out.exists() and out.samefile(model.whole):
        raise UsageError(f"{out} is the base of what is to be written there", code="output-is-base")
    base, base_tensors = describe_base(model.whole, model.whole_sha256, out), read_model(model.whole)[1]
    return lambda info: save_delta(out, generator.state_dict(), base, base_tensors, model.config, info)
