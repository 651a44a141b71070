"""fsv2v finetune: a model adapted to the pictures of one person, as one file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from stages.clip import Clip
from stages.conditions.framing import Crop, examples_of, tensors
from stages.devices import choose_device
from stages.errors import BadInput, ParametersDiffer
from stages.models import Model, read_model, save_model
from stages.networks.objective import PerceptualDistance
from stages.networks.tuning import TuneOptions, tune

__all__ = ["FinetuneOptions", "TuneOptions", "finetune"]


@dataclass(frozen=True)
class FinetuneOptions:
    """What shapes a finetuned model; all but `device` is stored in it."""

    tuning: TuneOptions = TuneOptions()
    num_examples: int = 4
    crop: Crop = "auto"
    device: str = "auto"


def finetune(
    examples: Sequence[Clip],
    model: Model,
    out: Path,
    options: FinetuneOptions,
    *,
    perceptual: PerceptualDistance | None = None,
    overwrite: bool = False,
    on_step: Callable[[int, float], None] = lambda step, loss: None,
) -> str:
    """Adapt `model` to the examples and write it to `out` (.safetensors, float16). Returns "done" or "skipped".

    The flow network, the occlusion mask and the attention stay as they are. Raises NoDetection (nothing seen in an example),
    ParametersDiffer (`out` was made otherwise).
    """
    settings = {**asdict(options), "model": model.sha256, "examples": [clip.frames_digest() for clip in examples]}
    del settings["device"]
    if out.exists() and not overwrite:
        if read_model(out)[0].get("finetuning") == settings:
            return "skipped"
        raise ParametersDiffer(f"{out} is there and was not made from these examples and settings", hint="use --overwrite, or another -o")
    shown = [e for clip in examples for e in examples_of(clip, model.config.kind, model.config.size, options.crop, options.num_examples)]
    if not shown:
        raise BadInput("there is no example to adapt to", hint="name a picture, a folder of pictures, a video or a clip")
    device = choose_device(options.device)
    images, semantics = tensors(shown, device)
    tuned = tune(model.generator.to(device), images, semantics, options.tuning, perceptual, on_step)
    info: dict[str, Any] = {**model.info, "finetuning": settings, "tuned": tuned}
    save_model(out, model.generator.state_dict(), model.config, info)
    return "done"
