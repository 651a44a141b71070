"""Writes the ONNX files: the encoder of the examples, the step for the first frame, and the step for all other frames."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import torch
from torch import Tensor, nn

from stages.errors import UsageError
from stages.export.check import SampleInput
from stages.export.tracing import Encoder, Step, named_tensors
from stages.networks.common.frame import Frame
from stages.networks.common.generator import Code, Generator
from stages.networks.common.inference import prepare

OPSET = 17
"""The version of the ONNX operators."""
Shapes = dict[str, list[int]]
"""name of a tensor -> its shape."""


@dataclass(frozen=True)
class Network:
    """An ONNX file and its tensors."""

    name: str
    inputs: Shapes
    outputs: Shapes

    @property
    def file(self) -> str:
        return f"{self.name}.onnx"


@torch.no_grad()
def export_networks(generator: Generator, sample: SampleInput, folder: Path) -> list[Network]:
    """Write encoder.onnx, first.onnx and next.onnx, in float32. The encoder returns only those tensors of the encoded examples that a step
    uses.

    Raises UsageError if ONNX lacks an operation of the generator.
    """
    fast = prepare(generator, torch.float32, channels_last=False)
    code = fast.encode_examples(sample.examples)
    before, frame = sample.frames[:2]
    steps = [_export_step("first", fast, code, before, None, folder), _export_step("next", fast, code, frame, before, folder)]
    used = [name for name in named_tensors(code, "code") if any(name in step.inputs for step in steps)]
    return [_export("encoder", Encoder(fast, used), named_tensors(sample.examples, "examples"), used, folder), *steps]


def _export_step(name: str, generator: Generator, code: Code, frame: Frame, past: Frame | None, folder: Path) -> Network:
    inputs = {**named_tensors(code, "code"), **named_tensors(frame, "frame"), **named_tensors(past, "past")}
    del inputs["frame.image"]
    return _export(name, Step(generator, code, tuple(inputs)), inputs, ["image"], folder)


def _export(name: str, module: nn.Module, inputs: Mapping[str, Tensor], output_names: Sequence[str], folder: Path) -> Network:
    path = folder / f"{name}.onnx"
    # The log is the whole graph, printed to stdout if ONNX lacks an operation. Warnings are about constant shapes and the exporter itself.
    with mock.patch.object(torch._C, "_jit_onnx_log"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            torch.onnx.export(
                module, tuple(inputs.values()), str(path), input_names=list(inputs), output_names=list(output_names),
                opset_version=OPSET, dynamo=False,
            )  # fmt: skip
        except torch.onnx.errors.OnnxExporterError as error:
            reason = str(error).partition(". ")[0]
            raise UsageError(f"this model cannot be exported: {reason}", code="export-of-variant") from error
    return _read_network(name, path)


def _read_network(name: str, path: Path) -> Network:
    """The network with the shapes that its file contains. Inputs that the network does not use are not in the file."""
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    inputs, outputs = (
        {tensor.name: [dimension.dim_value for dimension in tensor.type.tensor_type.shape.dim] for tensor in tensors}
        for tensors in (graph.input, graph.output)
    )
    return Network(name, inputs, outputs)
