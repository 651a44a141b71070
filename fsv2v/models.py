"""Load a model by its file, the folder of its run, or its name if it is shipped; choose a default model."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from fsv2v.reporting import Reporter
from stages.clip import Clip
from stages.conditions.kinds import kinds
from stages.errors import MissingRequirement, Sentence
from stages.models import Model
from stages.models import load_model as load_file
from stages.models.perceptual import choose_distance
from weights import registry

if TYPE_CHECKING:
    from stages.export import Exported

DEFAULT_MODELS = {kind.layer: kind.default_model for kind in kinds().values() if kind.default_model}
"""The shipped model for each driving layer."""


def load_model(name: str | PathLike[str] = "face-256", base: str | PathLike[str] | None = None) -> Model:
    """Load a model.

    name: a .safetensors file, the folder of a run, or a shipped model: face-256, pose-256, street-256, street-appearance.
    base: the model from which a finetuned model was made, if it is not found automatically.

    Raises InputError for a file that is not a model, UsageError for an unknown name, MissingRequirement for weights that cannot be fetched.
    """
    return load_file(model_path(name), Path(base) if base else None)


def default_model(driving: Clip | None) -> Model:
    """Load the shipped model for the layers of a driving clip, or, for None, the face model. Raises MissingRequirement if none fits."""
    for layer in driving.layers() if driving is not None else ("landmarks",):
        if layer in DEFAULT_MODELS:
            return load_file(registry.path(DEFAULT_MODELS[layer]))
    layers = ", ".join(driving.layers()) if driving is not None else "nothing"
    raise MissingRequirement(f"no shipped model is driven by {layers}", code="no-default-model")


def export_model(
    model: Model | str | PathLike[str],
    out: str | PathLike[str],
    *,
    format: Literal["onnx"] = "onnx",
    num_examples: int = 1,
    base: str | PathLike[str] | None = None,
    overwrite: bool = False,
) -> Exported:
    """Write the networks of a few-shot model to the folder `out` as ONNX files, and compare their frames with those of the model.

    num_examples: the exact number of examples that the networks take. base: the model from which a finetuned model was made.

    Raises UsageError for a model of another family, MissingRequirement without the packages onnx and onnxruntime, ParametersDiffer if `out`
    contains something else, and `fsv2v.Error` if the frames differ.
    """
    from stages.export import ExportOptions, export

    chosen = model if isinstance(model, Model) else load_model(model, base)
    return export(chosen, Path(out), ExportOptions(format, num_examples), overwrite=overwrite)


def model_path(name: str | PathLike[str]) -> Path:
    """The path of a model that is given by its file, the folder of its run, or its name in the registry of weights."""
    path = Path(name)
    return path if path.exists() or path.suffix else registry.path(f"{name}.safetensors")


def choose_perceptual(requested: str, default: str, reporter: Reporter) -> str:
    """The feature network of the perceptual loss: `requested`, or for "auto" the `default` of a recipe or a model.

    If the default is a SqueezeNet, "auto" chooses the version whose weights are available, or "none". The reporter receives a note if the
    choice is "none" and the default is not.
    """
    chosen = default if requested == "auto" and not default.startswith("squeezenet") else choose_distance(requested)
    if chosen == "none" and default != "none":
        reporter.note(Sentence("without a perceptual loss results are less sharp", code="no-perceptual-loss"))
    return chosen


def choose_perceptual_for(model: Model, reporter: Reporter, requested: str = "auto") -> str:
    """The feature network for adapting a model; by default the one with which the model was trained."""
    return choose_perceptual(requested, model.info.get("training", {}).get("perceptual", "squeezenet"), reporter)
