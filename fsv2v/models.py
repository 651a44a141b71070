"""Models by name: files, folders of runs, and the shipped ones."""

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
    """A model of a .safetensors file, a run's folder, or the name of a shipped one: face-256, pose-256, street-256.

    base: the file that a finetuned model belongs to, where it is not found by itself. Raises InputError for a file that is no model,
    MissingRequirement for weights that cannot be fetched.
    """
    return load_file(model_path(name), Path(base) if base else None)


def default_model(driving: Clip | None) -> Model:
    """The shipped model for the layers of a driving clip; None: the face model. Raises MissingRequirement when there is none for them."""
    for kind in driving.layers() if driving is not None else ("landmarks",):
        if kind in DEFAULT_MODELS:
            return load_file(registry.path(DEFAULT_MODELS[kind]))
    have = ", ".join(driving.layers()) if driving is not None else "nothing"
    raise MissingRequirement(f"no model is shipped that is driven by {have}", code="no-default-model")


def export_model(
    model: Model | str | PathLike[str],
    out: str | PathLike[str],
    *,
    format: Literal["onnx"] = "onnx",
    num_examples: int = 1,
    base: str | PathLike[str] | None = None,
    overwrite: bool = False,
) -> Exported:
    """Write a few-shot model to the folder `out` as ONNX files, which take `num_examples` examples, and compare their frames with its own.

    Raises UsageError for a model of another family, MissingRequirement without the packages onnx and onnxruntime, ParametersDiffer if `out`
    has something else, and `fsv2v.Error` if the frames differ.
    """
    from stages.export import ExportOptions, export

    chosen = model if isinstance(model, Model) else load_model(model, base)
    return export(chosen, Path(out), ExportOptions(format, num_examples), overwrite=overwrite)


def model_path(name: str | PathLike[str]) -> Path:
    """A file, a run's folder, or a name in the registry."""
    path = Path(name)
    return path if path.exists() or path.suffix else registry.path(f"{name}.safetensors")


def perceptual(asked: str, usual: str, reporter: Reporter) -> str:
    """`asked`; "auto" becomes what can be had where a recipe or a model has `usual`.

    When that is "none" in place of a network, the reporter is told.
    """
    chosen = usual if asked == "auto" and not usual.startswith("squeezenet") else choose_distance(asked)
    if chosen == "none" and usual != "none":
        reporter.note(Sentence("without a perceptual loss results are less sharp", code="no-perceptual-loss"))
    return chosen


def perceptual_of(model: Model, reporter: Reporter, asked: str = "auto") -> str:
    """The feature network with which a model is adapted."""
    return perceptual(asked, model.info.get("training", {}).get("perceptual", "squeezenet"), reporter)
