"""fsv2v export: a model for other programs."""

from __future__ import annotations

from typing import Any

import click

from fsv2v_cli import console
from fsv2v_cli.options import PATH, Run, base_option, command, common_options, out_option, overwrite_option


@command("export")
@click.argument("model", type=PATH)
@click.option("--format", "form", type=click.Choice(["onnx"]), default="onnx", show_default=True, help="The format of the networks.")
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
    the step for the first frame and that for all others, and export.json, which describes their tensors. Some frames are made by
    onnxruntime and compared with those of PyTorch; FOLDER appears if they are the same. Size, number of examples and kind of attention are
    fixed. Models of pix2pixHD, vid2vid and those that predict label maps cannot be exported. The path of FOLDER is printed.
    """
    import fsv2v

    assert run.out is not None
    exported = fsv2v.export_model(model, run.out, format=form, num_examples=num_examples, base=base, overwrite=run.overwrite)
    console.note(f"the exported networks make the same frames as the model: PSNR {exported.psnr:.0f} dB")
    record = {"export": str(exported.path), "status": exported.status, "psnr": round(exported.psnr, 2), "files": list(exported.files)}
    console.emit(record if run.json else exported.path)
