"""fsv2v finetune: a model adapted to one person."""

from __future__ import annotations

import click

from fsv2v_cli import console, prepare
from fsv2v_cli.options import Run, command, common_options, device_option, out_option, overwrite_option, seed_option


@command("finetune")
@click.option("--model", metavar="MODEL", help="A .safetensors file or a run's folder. Default: the shipped face model.")
@click.option("--examples", required=True, metavar="PATH", help="A picture, a folder of pictures, a video or a clip of the person.")
@out_option("The adapted model, NAME.safetensors.", required=True)
@click.option("--steps", type=click.IntRange(1), default=60, show_default=True, help="Steps of the adaptation.")
@click.option("--batch", type=click.IntRange(1), default=2, show_default=True, help="Pictures per step.")
@click.option("--learning-rate", type=click.FloatRange(0, min_open=True), default=1e-4, show_default=True, help="Rate of Adam.")
@prepare.perceptual_option
@click.option("--num-examples", type=click.IntRange(1), default=4, show_default=True, help="At most so many frames of a video.")
@click.option("--backend", default="auto", show_default=True, help="Landmark detector for pictures without landmarks.")
@seed_option
@device_option
@overwrite_option
@common_options
def finetune(
    model: str | None, examples: str, steps: int, batch: int, learning_rate: float, perceptual: str, num_examples: int, backend: str,
    seed: int, device: str, run: Run,
) -> None:  # fmt: skip
    """Adapt the weight generator and the image branch of a model to the examples; the flow networks stay as they are.

    The path of the adapted model is printed; give it to `fsv2v synthesize --model`.
    """
    from stages.devices import choose_device
    from stages.finetune import FinetuneOptions, TuneOptions
    from stages.finetune import finetune as adapt
    from stages.perceptual import choose, open_distance

    assert run.out is not None
    tuning = TuneOptions(steps, batch, learning_rate, seed=seed)
    options = FinetuneOptions(tuning, num_examples, device=device)
    with prepare.workplace() as folder:
        base = prepare.open_model(model, None)
        shown = prepare.examples_with_layer(examples, base.config.kind, folder, device=device, backend=backend)
        distance = open_distance(prepare.said(choose(perceptual)), choose_device(device))
        with console.progress("finetune", steps, "steps") as bar:
            status = adapt(
                shown, base, run.out, options, perceptual=distance, overwrite=run.overwrite,
                on_step=lambda step, loss: bar.move(step, steps, loss=loss),
            )  # fmt: skip
    console.emit({"model": str(run.out), "status": status, "steps": steps} if run.json else run.out)
