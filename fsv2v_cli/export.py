"""fsv2v export: a model as files that other programs can run."""

from __future__ import annotations

from typing import Any

import click

from fsv2v_cli import console
from fsv2v_cli.options import PATH, Run, base_option, command, common_options, out_option, overwrite_option


@command("export")
@click.argument("model", type=PATH)
@click.option("--format", "form", type=click.Choice(["onnx"]), default="onnx", show_default=True, help="Format of the networks.")
@out_option("The folder to write.", required=True, metavar="FOLDER")
@click.option(
    "--num-examples", type=click.IntRange(1), default=1, show_default=True, metavar="N", help="Number of examples that the networks take."
)
@base_option
@overwrite_option
@common_options
def export(model: str, form: Any, num_examples: int, base: str | None, run: Run) -> None:
    """Write the networks of a few-shot model as ONNX files, for programs without PyTorch.

    MODEL is a .safetensors file, a run's folder or the name of a shipped model, such as face-256. FOLDER gets the encoder of the examples,
    the step for the first frame, the step for all other frames, and export.json, which describes their inputs and outputs. The sizes of
    all tensors are fixed, and so is the number of examples. Before FOLDER appears, frames that onnxruntime makes with the files are
    compared with those of PyTorch. Models of pix2pixHD and vid2vid and models that predict label maps cannot be exported. The path of
    FOLDER is printed.
    """
    import fsv2v

    assert run.out is not None
    with console.progress("export", None):
        exported = fsv2v.export_model(model, run.out, format=form, num_examples=num_examples, base=base, overwrite=run.overwrite)
    console.note(f"the frames of the exported networks match those of the model: PSNR {exported.psnr:.0f} dB")
    record = {"export": str(exported.path), "status": exported.status, "psnr": round(exported.psnr, 2), "files": list(exported.files)}
    console.emit(record if run.json else exported.path)
