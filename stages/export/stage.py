"""The stage: a folder with a model's networks as ONNX files, and a description of what they take and give."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from stages.backends import Package
from stages.errors import Fsv2vError, InputError, MissingRequirement, ParametersDiffer, UsageError
from stages.export.networks import OPSET, Network, export_networks
from stages.export.trial import Trial, psnr
from stages.io.differences import differences
from stages.io.files import building_directory, exclusive_lock, write_bytes
from stages.io.reading import parse_object
from stages.models import Model
from stages.networks.fewshot.generator import FewShotGenerator

DESCRIPTION = "export.json"
SCHEMA = "fsv2v.export/1"
MIN_PSNR = 40.0
"""In dB, between the frames of PyTorch and those of the exported networks, whose values are in [-1, 1]."""
NEEDED = (Package("onnx", "onnx"), Package("onnxruntime", "onnxruntime"))
MEANINGS = {
    "examples.semantic": "s_t of the examples, in [0, 1]",
    "examples.keypoints": "x and y in pixels of the image, and a confidence; 0 if the point is unknown",
    "examples.image": "RGB in [-1, 1]",
    "code.*": "outputs of the encoder, unchanged; they are the same for all frames",
    "frame.semantic": "s_t of the frame to make, in [0, 1]",
    "frame.keypoints": "as examples.keypoints, of the frame to make",
    "past.*": "semantic, keypoints and image of the frame before, as they were fed and made",
    "image": "the frame, RGB in [-1, 1]",
}


@dataclass(frozen=True)
class ExportOptions:
    """What shapes an export; the size of the images is the model's."""

    format: Literal["onnx"] = "onnx"
    num_examples: int = 1
    """The networks take exactly this number of examples."""


@dataclass(frozen=True)
class Exported:
    """An export that is complete."""

    path: Path
    status: Literal["done", "skipped"]
    psnr: float
    """The lowest of the compared frames, in dB."""
    files: tuple[str, ...] = field(default=())


def export(model: Model, out: Path, options: ExportOptions, *, overwrite: bool = False) -> Exported:
    """Write the example encoder and the step of a few-shot model to the folder `out`, and check them.

    encoder.onnx is run once, first.onnx for the first frame, next.onnx for each frame after it; export.json describes their tensors.
    Frames of onnxruntime are compared with PyTorch's before the folder appears.

    Raises UsageError (the model cannot be exported, or another process exports to `out`), MissingRequirement (onnx or onnxruntime is not
    installed), ParametersDiffer (`out` has something else), and Fsv2vError if the frames differ.
    """
    generator = _exportable(model)
    settings = {**asdict(options), "model": model.sha256, "attention": model.config.recorded().get("attention"), "opset": OPSET}
    with exclusive_lock(out):
        if out.exists() and (finished := _finished(out, settings, overwrite)) is not None:
            return finished
        for package in NEEDED:
            if lack := package.missing():
                raise MissingRequirement(f"the export as ONNX needs another package: {lack}", code="export-package-missing")
        trial = Trial.of(generator, options.num_examples)
        with building_directory(out, replace=True) as folder:
            networks = export_networks(generator, trial, folder)
            values = [psnr(made, wanted) for made, wanted in zip(trial.run(folder), trial.expected(generator), strict=True)]
            if not min(values) > MIN_PSNR:
                raise Fsv2vError(
                    f"the exported networks of {model.path} make other frames than the model: "
                    f"the PSNR is {min(values):.1f} dB and must be above {MIN_PSNR:.0f}",
                    hint="Please report it",
                    code="export-inexact",
                )
            description = _description(model, settings, networks, values)
            write_bytes(folder / DESCRIPTION, json.dumps(description, indent=2).encode())
    return Exported(out, "done", min(values), tuple(network.file for network in networks))


def _exportable(model: Model) -> FewShotGenerator:
    if not isinstance(model.generator, FewShotGenerator):
        raise UsageError(
            f"{model.path} is of the family {model.config.family}, and only few-shot models can be exported", code="export-of-family"
        )
    return model.generator


def _finished(out: Path, settings: Mapping[str, Any], overwrite: bool) -> Exported | None:
    """The export at `out` if it has these settings; None if it is to be replaced."""
    try:
        description = parse_object((out / DESCRIPTION).read_bytes())
        before, files = description["settings"], tuple(network["file"] for network in description["networks"].values())
        quality = float(description["check"]["psnr"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise ParametersDiffer(f"{out} is there and is no export of a model, so it is not replaced", code="output-other") from None
    if overwrite:
        return None
    if before != settings:
        raise ParametersDiffer(
            f"{out} is there and was exported otherwise ({'; '.join(differences(before, settings))})", code="output-differs"
        )
    if lost := [name for name in files if not (out / name).is_file()]:
        raise InputError(f"{out} lacks {lost[0]}", code="output-differs")
    return Exported(out, "skipped", quality, files)


def _description(model: Model, settings: Mapping[str, Any], networks: list[Network], values: list[float]) -> dict[str, Any]:
    import onnxruntime

    height, width = model.config.size
    return {
        "schema": SCHEMA,
        "settings": settings,
        "model": {"file": model.path.name, "family": model.config.family, "kind": model.config.kind, "height": height, "width": width},
        "networks": {
            network.name: {"file": network.file, "inputs": _shapes(network.inputs), "outputs": _shapes(network.outputs)}
            for network in networks
        },
        "tensors": MEANINGS,
        "check": {
            "psnr": round(min(values), 2),
            "frames": len(values),
            "onnxruntime": onnxruntime.__version__,
            "torch": torch.__version__,
        },
    }


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Any]]:
    return {name: {"shape": list(tensor.shape), "type": "float32"} for name, tensor in tensors.items()}
