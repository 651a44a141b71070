"""The stage: writes a folder with the networks of a model as ONNX files and a description of their inputs and outputs."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from stages.backends import Package
from stages.errors import Fsv2vError, MissingRequirement, ParametersDiffer, UsageError
from stages.export.check import SampleInput, psnr
from stages.export.networks import OPSET, Network, export_networks
from stages.io.differences import differences
from stages.io.files import building_directory, exclusive_lock, write_bytes
from stages.io.reading import parse_object
from stages.models import Model
from stages.networks.fewshot.generator import FewShotGenerator

DESCRIPTION = "export.json"
SCHEMA = "fsv2v.export/1"
MIN_PSNR = 40.0
"""Lowest accepted PSNR in dB of the frames of the exported networks, compared with those of PyTorch."""
PACKAGES = (Package("onnx", "onnx"), Package("onnxruntime", "onnxruntime"))
INSTALL = "Install it: pip install 'fsv2v[export]'"
MEANINGS = {
    "*.semantic": "s_t of the examples, of the frame to make, or of the previous frame, in [0, 1]",
    "*.keypoints": "x and y in pixels and a confidence, which is 0 if the point is unknown",
    "*.image": "RGB in [-1, 1]",
    "code.*": "outputs of the encoder, the same for all frames",
    "image": "the frame, RGB in [-1, 1]",
}
"""tensors -> their values."""


@dataclass(frozen=True)
class ExportOptions:
    """The options of an export. Its images have the size of the model's."""

    format: Literal["onnx"] = "onnx"
    num_examples: int = 1
    """The exact number of examples that the networks take."""


@dataclass(frozen=True)
class Exported:
    """A complete export."""

    path: Path
    status: Literal["done", "skipped"]
    psnr: float
    """The lowest PSNR of the compared frames, in dB."""
    files: tuple[str, ...]


def export(model: Model, out: Path, options: ExportOptions, *, overwrite: bool = False) -> Exported:
    """Write the encoder of the examples and the steps of a few-shot model to the folder `out`.

    encoder.onnx is run once, first.onnx for the first frame, next.onnx for each further frame; export.json describes their tensors.
    Before the folder appears, frames that onnxruntime makes are compared with those of PyTorch.

    Raises UsageError (the model cannot be exported, or another process exports to `out`), MissingRequirement (onnx or onnxruntime is not
    installed, or PyTorch is too old), ParametersDiffer (`out` contains something else), and Fsv2vError if the frames differ.
    """
    generator = _require_few_shot(model)
    settings = {**asdict(options), "model": model.sha256, **model.config.key_entries(), "opset": OPSET}
    with exclusive_lock(out):
        if (finished := _find_finished(out, settings, overwrite)) is not None:
            return finished
        _require_packages()
        with building_directory(out, replace=True) as folder:
            sample = SampleInput.create(generator, options.num_examples)
            networks = export_networks(generator, sample, folder)
            quality = min(map(psnr, sample.run_networks(folder), sample.run_model(generator)))
            if not quality > MIN_PSNR:  # also if it is not a number
                raise Fsv2vError(
                    f"the frames of the exported networks differ from those of {model.path}: "
                    f"the PSNR is {quality:.1f} dB and must be above {MIN_PSNR:.0f} dB",
                    hint="Please report it, with the file of the model",
                )
            write_bytes(folder / DESCRIPTION, _to_json(_description(model, settings, networks, quality)))
    return Exported(out, "done", quality, tuple(network.file for network in networks))


def _require_few_shot(model: Model) -> FewShotGenerator:
    if not isinstance(model.generator, FewShotGenerator):
        family = model.config.family
        raise UsageError(f"{model.path} is of the family {family}, and only few-shot models can be exported", code="export-of-family")
    return model.generator


def _require_packages() -> None:
    for package in PACKAGES:
        if package.missing():
            raise MissingRequirement(
                f"exporting needs the package {package.module}, which is not installed",
                hint=INSTALL,
            )
    if torch.__version__ < "2.5":  # TorchVersion compares numbers
        raise MissingRequirement(f"exporting needs PyTorch 2.5 or newer, and this is {torch.__version__}", hint=INSTALL)


def _find_finished(out: Path, settings: Mapping[str, Any], overwrite: bool) -> Exported | None:
    """The export at `out` if it has these settings; None if it is to be made."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return None
    try:
        description = parse_object((out / DESCRIPTION).read_bytes())
        before, files = description["settings"], tuple(network["file"] for network in description["networks"].values())
        quality = float(description["check"]["psnr"])
        extra = {path.name for path in out.iterdir()} - {DESCRIPTION, *files}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise ParametersDiffer(f"{out} exists and is not an export of a model, so it is not replaced", code="export-other") from None
    if not overwrite and before != settings:
        changes = "; ".join(differences(before, settings))
        raise ParametersDiffer(f"{out} exists and was exported with other settings ({changes})", code="output-differs")
    complete = all((out / name).is_file() for name in files)
    if not overwrite and complete:
        return Exported(out, "skipped", quality, files)
    if extra:
        raise ParametersDiffer(f"{out} also contains {min(extra)}, so it is not replaced", code="export-other")
    return None


def _description(model: Model, settings: Mapping[str, Any], networks: Sequence[Network], quality: float) -> dict[str, Any]:
    import onnxruntime

    config, (height, width) = model.config, model.config.size
    return {
        "schema": SCHEMA,
        "settings": settings,
        "model": {"file": model.path.name, "family": config.family, "kind": config.kind, "height": height, "width": width},
        "networks": {network.name: {"file": network.file, "inputs": network.inputs, "outputs": network.outputs} for network in networks},
        "tensors": {"type": "float32", "values": MEANINGS},
        "check": {"psnr": round(quality, 2), "onnxruntime": onnxruntime.__version__, "torch": torch.__version__},
    }


def _to_json(description: Mapping[str, Any]) -> bytes:
    """JSON with each shape on one line."""
    text = json.dumps(description, indent=2)
    return re.sub(r"\[[\d,\s]+\]", lambda shape: json.dumps(json.loads(shape[0])), text).encode()
