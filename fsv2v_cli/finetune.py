"""fsv2v finetune: a model adapted to one person."""

from __future__ import annotations

import click

from fsv2v_cli import console
from fsv2v_cli.console_reporter import ConsoleReporter
from fsv2v_cli.options import (
    Run,
    base_option,
    command,
    common_options,
    device_option,
    out_option,
    overwrite_option,
    path_option,
    perceptual_option,
    seed_option,
)


@command("finetune")
@path_option("--model", metavar="MODEL", help="A .safetensors file or a run's folder. Default: the shipped face model.")
@base_option
@path_option("--examples", required=True, metavar="PATH", help="An image, a folder of images, a video or a clip of the person.")
@out_option("The adapted model, NAME.safetensors.", required=True)
@click.option("--whole", is_flag=True, help="Write a whole model, which needs no base.")
@click.option("--steps", type=click.IntRange(1), default=60, show_default=True, help="Steps of the adaptation.")
@click.option("--batch", type=click.IntRange(1), default=2, show_default=True, help="Images per step.")
@click.option(
    "--learning-rate", type=click.FloatRange(0, min_open=True), default=1e-4, show_default=True, help="Initial learning rate of Adam."
)
@perceptual_option
@click.option("--num-examples", type=click.IntRange(1), default=4, show_default=True, help="Largest number of frames taken from a video.")
@click.option("--backend", default="auto", show_default=True, help="Landmark detector for images without landmarks.")
@seed_option
@device_option
@overwrite_option
@common_options
def finetune(
    model: str | None, base: str | None, examples: str, whole: bool, steps: int, batch: int, learning_rate: float, perceptual: str,
    num_examples: int, backend: str, seed: int, device: str, run: Run,
) -> None:  # fmt: skip
    """Adapt the weight generator and the image branch of a model to the examples. The flow networks are not changed.

    The path of the adapted model is printed; give it to `fsv2v synthesize --model`. The file contains only
    the changes, and is used together with the model from which it was made. Keep that model unless it is a shipped one, or use --whole.
    """
    from fsv2v.models import choose_perceptual_for, default_model, load_model
    from fsv2v.sources import examples_with_layer, temporary_clips
    from stages.finetune import FinetuneOptions, TuneOptions
    from stages.finetune import finetune as adapt
    from weights.registry import name_of_digest

    assert run.out is not None
    tuning = TuneOptions(steps, batch, learning_rate, seed=seed)
    reporter = ConsoleReporter()
    with temporary_clips(reporter) as temporary:
        start = default_model(None) if model is None else load_model(model, base)
        clips = examples_with_layer(examples, start.config.kind, temporary, device=device, backend=backend)
        network = choose_perceptual_for(start, reporter, perceptual)
        options = FinetuneOptions(tuning, num_examples, whole=whole, perceptual=network, device=device)
        with console.progress("finetune", steps, "steps") as bar:
            status = adapt(
                clips, start, run.out, options, overwrite=run.overwrite,
                on_step=lambda step, loss: bar.move(step, steps, loss=loss),
            )  # fmt: skip
    if not whole and not name_of_digest(start.whole_sha256):
        console.note(f"{run.out} needs {start.whole}: keep that file, or write a whole model with --whole")
    console.emit({"model": str(run.out), "status": status, "steps": steps} if run.json else run.out)
