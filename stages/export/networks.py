"""The ONNX files: the encoder of the examples, and the step for the first frame and for the others."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from stages.errors import UsageError
from stages.export.tracing import Encoder, Step, tensors_of
from stages.export.trial import Trial
from stages.networks.common.generator import Generator
from stages.networks.common.inference import prepare

OPSET = 17


@dataclass(frozen=True)
class Network:
    """One of the files, with the tensors that it took and gave when it was traced."""

    name: str
    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]

    @property
    def file(self) -> str:
        return f"{self.name}.onnx"


@torch.no_grad()
def export_networks(generator: Generator, trial: Trial, folder: Path) -> list[Network]:
    """Write encoder.onnx, first.onnx and next.onnx in float32. The encoder's outputs are those tensors of the code that a step takes."""
    fast = prepare(generator, torch.float32, channels_last=False)
    code = fast.encode_examples(trial.examples)
    coded = tensors_of(code, "code")
    steps = []
    for name, (driving, past) in {"first": (trial.frames[0], None), "next": (trial.frames[1], trial.frames[0])}.items():
        given = {**coded, **tensors_of(driving, "frame"), **({} if past is None else tensors_of(past, "past"))}
        given.pop("frame.image")
        steps.append(_export(name, Step(fast, code, tuple(given)), given, ("image",), folder))
    used = {name for step in steps for name in step.inputs}
    kept = tuple(name for name in coded if name in used)
    return [_export("encoder", Encoder(fast, kept), tensors_of(trial.examples, "examples"), kept, folder), *steps]


def _export(name: str, network: nn.Module, given: Mapping[str, Tensor], made: tuple[str, ...], folder: Path) -> Network:
    results = network(*given.values())
    path = folder / f"{name}.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about shapes that become constants, and about the exporter itself
        try:
            torch.onnx.export(
                network, tuple(given.values()), str(path), input_names=list(given), output_names=list(made), opset_version=OPSET,
                dynamo=False,
            )  # fmt: skip
        except torch.onnx.errors.OnnxExporterError as error:
            reason = str(error).splitlines()[-1]
            raise UsageError(f"this variant of the generator cannot be exported: {reason}", code="export-of-variant") from error
    outputs = results if isinstance(results, tuple) else (results,)
    return Network(name, {kept: given[kept] for kept in _inputs(path)}, dict(zip(made, outputs, strict=True)))


def _inputs(path: Path) -> list[str]:
    """The inputs of an ONNX file; what the network does not use is not among them."""
    import onnx

    return [tensor.name for tensor in onnx.load(path, load_external_data=False).graph.input]
