"""fsv2v predict: the label maps that follow those of a clip."""

from __future__ import annotations

import click

from fsv2v_cli import console
from fsv2v_cli.console_reporter import ConsoleReporter
from fsv2v_cli.options import PATH, Run, command, common_options, device_option, out_option, overwrite_option, path_option
from fsv2v_cli.spans import parse_span


@command("predict")
@click.argument("clip", type=PATH)
@click.option("--frames", type=click.IntRange(1), required=True, metavar="N", help="Number of label maps to predict.")
@path_option("--model", metavar="MODEL", required=True, help="A model of `fsv2v train --preset future-street`, or the folder of its run.")
@click.option(
    "--observed", metavar="START:STOP",
    help="The observed frames of CLIP; the future begins with frame STOP. START or STOP may be left out; negative numbers count from the "
    "end.",
)  # fmt: skip
@out_option("The clip with the predicted label maps.", required=True, metavar="NAME.clip")
@device_option
@overwrite_option
@common_options
def predict(clip: str, frames: int, model: str, observed: str | None, device: str, run: Run) -> None:
    """Predict the label maps that follow those of CLIP, which has the layer `segment`.

    The result has the size, rate and label table of CLIP, and instances if CLIP has them. `fsv2v synthesize --driving` turns it into a
    video; with --start it continues the observed frames. The path of the output is printed.
    """
    import fsv2v
    from stages.compute.devices import choose_device
    from stages.errors import UsageError

    assert run.out is not None
    if run.out.suffix.lower() != ".clip":
        raise UsageError(f"{run.out} is not the name of a clip", hint="End it in .clip")
    choose_device(device)  # fail before the model is loaded
    with console.progress("predict", frames, "frames") as bar:
        outcome = fsv2v.predict(
            clip, run.out, frames=frames, model=model, observed=parse_span(observed), device=device, overwrite=run.overwrite,
            reporter=ConsoleReporter(bar.move),
        )  # fmt: skip
    record = {"clip": str(run.out), "layer": "segment", "status": outcome.status, "frames": outcome.frames}
    console.emit({**record, "seconds": round(outcome.seconds, 3), "reason": ""} if run.json else run.out)
